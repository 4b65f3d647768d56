"""Primitives on the channels of a batch: sums, means, variances, and what is done with them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from minibnn.backend.array import Array


class Channels:
    """Part of `Backend`; the plain bodies.

    A batch stands as rows: (batch, places * channels), which is (batch, ..., channels) with each
    sample laid out as one row.
    """

    xp: ModuleType

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """See `Backend`."""
        raise NotImplementedError

    def ones(self, n: int, dtype: Any) -> Array:
        """A row of `n` ones, for products; not to be written to."""
        return self.xp.ones((1, n), dtype=dtype)

    def channel_sums(self, rows: Array, channels: int, out: Array | None = None) -> Array:
        """Sums over the batch and over the places in a sample, accurate in float32.

        .. code-block:: text

            sums[c] = sum over i and p of rows[i, p channels + c]

        In two stages, first over the batch, then over the places. A sum's rounding error grows
        with how many numbers one accumulator takes in, and a batch of images has a million for
        each channel. The first stage is a product with ones, the fastest sum of rows there is.

        Shapes: rows (batch, places * channels), which is (batch, ..., channels) with each sample
        laid out as one row; the sums and `out` (channels,).
        """
        ones = self.ones(len(rows), rows.dtype)
        if rows.shape[1] == channels:
            return self.matmul(ones, rows, out=None if out is None else out[None])[0]
        return self.matmul(ones, rows).reshape(-1, channels).sum(axis=0, out=out)

    def channel_dots(self, a: Array, b: Array, channels: int, out: Array | None = None) -> Array:
        """`channel_sums` of the products ``a b``; shapes as there."""
        return self.channel_sums(a * b, channels, out)

    def spread(self, v: Array, width: int) -> Array:
        """One value for each channel, repeated over the places: shape (width,), to meet rows."""
        if v.size == width:
            return v
        return self.xp.broadcast_to(v, (width // v.size, v.size)).reshape(-1)

    def standardize(
        self, rows: Array, channels: int, epsilon: float
    ) -> tuple[Array, Array, Array, Array]:
        """Each channel with mean 0 and variance 1 over the batch and the places.

        .. code-block:: text

            x^ = (x - mean) / sqrt(var + epsilon)       var = mean of (x - mean)^2

        The last factor is computed as sqrt(var + epsilon) / (var + epsilon): where var overflows
        that is inf / inf, and nan shows in the loss where 1 / inf would quietly give zeros.

        Shapes: rows and x^ (batch, places * channels); mean, var and inv_std (channels,).

        Returns:
            x^, mean, var, and inv_std, which is that last factor.
        """
        n, width = rows.size // channels, rows.shape[1]
        mean = self.channel_sums(rows, channels) / n
        x = rows - self.spread(mean, width)
        var = self.channel_dots(x, x, channels) / n
        inv_std = self.xp.sqrt(var + epsilon) / (var + epsilon)
        x *= self.spread(inv_std, width)
        return x, mean, var, inv_std

    def batch_norm(
        self, rows: Array, gamma: Array | None, beta: Array, epsilon: float
    ) -> tuple[Array, Array, Array, Array, Array]:
        """`standardize`, then a scale and a shift for each channel.

        .. code-block:: text

            y = gamma x^ + beta

        Shapes: rows, x^ and y (batch, places * channels); all others (channels,).

        Args:
            rows: the batch x.
            gamma: None for 1.
            beta: says how many channels there are.
            epsilon: added to the variance.

        Returns:
            y, x^, mean, var and inv_std.
        """
        standard, mean, var, inv_std = self.standardize(rows, beta.size, epsilon)
        shift = self.spread(beta, rows.shape[1])
        if gamma is None:
            y = standard + shift
        else:
            y = self.affine(shift, (self.spread(gamma, rows.shape[1]), standard))
        return y, standard, mean, var, inv_std

    def normalize(self, rows: Array, mean: Array, scale: Array, shift: Array) -> Array:
        """Each channel less its mean, scaled and shifted: batch norm in evaluation.

        .. code-block:: text

            y = (x - mean) scale + shift

        Shapes: rows and y (batch, places * channels); mean, scale and shift (channels,).
        """
        y = rows - self.spread(mean, rows.shape[1])
        y *= self.spread(scale, rows.shape[1])
        y += self.spread(shift, rows.shape[1])
        return y

    def batch_norm_gradient(
        self,
        dy: Array,
        standard: Array,
        inv_std: Array,
        gamma: Array | None,
        dbeta: Array,
        dgamma: Array | None,
        *,
        need_dx: bool = True,
    ) -> Array | None:
        """The gradients of `batch_norm`; n is the number of values that a channel has.

        .. code-block:: text

            dbeta  = sum dy
            dgamma = sum dy x^
            dx     = gamma inv_std (dy - dbeta / n - x^ dgamma / n)

        Shapes: dy, x^ and dx (batch, places * channels); all others (channels,).

        Args:
            dy: the gradient of y.
            standard: x^.
            inv_std: as `batch_norm` gave it.
            gamma: None for 1.
            dbeta: is overwritten.
            dgamma: is overwritten, unless None.
            need_dx: without, None is returned.
        """
        channels, width = inv_std.size, dy.shape[1]
        n = dy.size // channels
        self.channel_sums(dy, channels, out=dbeta)
        if dgamma is None and not need_dx:
            return None
        dgamma = self.channel_dots(dy, standard, channels, out=dgamma)
        if not need_dx:
            return None
        scale = inv_std if gamma is None else gamma * inv_std
        return self.affine(
            self.spread(scale * dbeta / -n, width),
            (self.spread(scale, width), dy),
            (self.spread(scale * dgamma / -n, width), standard),
        )

    def update_running(
        self,
        running_mean: Array,
        running_var: Array,
        mean: Array,
        var: Array,
        momentum: float,
        unbias: float = 1.0,
    ) -> None:
        """Mix a batch's statistics into the running ones, in place.

        .. code-block:: text

            running_mean <- momentum running_mean + (1 - momentum) mean
            running_var  <- momentum running_var  + (1 - momentum) unbias var

        If one number of the batch's is not finite, in any channel, nothing changes.

        Shapes: all (channels,).

        Args:
            running_mean: is overwritten.
            running_var: is overwritten.
            mean: of the batch.
            var: of the batch.
            momentum: how much of the running statistics stays.
            unbias: n / (n - 1) for an unbiased variance.
        """
        xp = self.xp
        var = var * unbias
        finite = xp.isfinite(mean + var).all()
        for running, batch in ((running_mean, mean), (running_var, var)):
            xp.copyto(running, momentum * running + (1 - momentum) * batch, where=finite)

    def affine(self, shift: Array, *terms: tuple[Array, Array]) -> Array:
        """Scale each column of one or two arrays, add them up, and shift: a new array.

        .. code-block:: text

            y[i, j] = shift[j] + sum over the terms of scale[j] x[i, j]

        Shapes: shift and each scale (width,); each x, and y, (batch, width).

        Args:
            shift: for each column.
            terms: pairs (scale, x).
        """
        scale, x = terms[0]
        y = x * scale
        for scale, x in terms[1:]:
            y += x * scale
        y += shift
        return y
