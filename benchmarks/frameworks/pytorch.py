"""PyTorch: eager, compiled, and for convolutions also with the memory format channels_last.

Eager: straight-through functions with one kernel for the forward pass (`copysign`) and one for the
backward pass (`hardtanh_backward`); Adam with `fused=True`; the training set as float32 tensors.
Compiled: forward, loss and backward with `torch.compile`, the update with the same fused Adam.

On a GPU, all data is on the device, the rows of a round are copied there at once, and nothing is
read back before the end of the round. `pytorch_graph.py` has the forms with captured steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from harness.contestant import Array, Data, Job, require_exact, run


class Sign(torch.autograd.Function):  # type: ignore[misc]
    """Sign with an unclipped gradient; sign(-0.0) is -1, but no sum here is -0.0."""

    one: Any = torch.ones(())  # on the job's device

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """+1 or -1."""
        return torch.copysign(Sign.one, x)

    @staticmethod
    def backward(ctx: Any, *dy: Any) -> Any:
        """The straight-through gradient."""
        return dy[0]


class ClippedSign(torch.autograd.Function):  # type: ignore[misc]
    """Sign with a gradient where -1 < x < 1."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """+1 or -1."""
        ctx.save_for_backward(x)
        return torch.copysign(Sign.one, x)

    @staticmethod
    def backward(ctx: Any, *dy: Any) -> Any:
        """The straight-through gradient within the clip."""
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(dy[0], x, -1.0, 1.0)


class PyTorch:
    """Form eager, compiled or channels_last."""

    capturable = False  # whether a CUDA graph can capture the step of Adam

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        torch.set_num_threads(job.threads)
        self.job = job
        self.device = torch.device("cuda" if job.device == "gpu" else "cpu")
        allow_tf32(job.tf32)
        require_exact(job, self.product)
        Sign.one = Sign.one.to(self.device)
        self.sign = (Sign if job.clip is None else ClippedSign).apply
        self.layout = torch.contiguous_format
        if form == "channels_last":
            self.layout = torch.channels_last
        self.images = self.pixels(data.train_images).to(self.device)
        self.labels = torch.tensor(data.train_labels).long().to(self.device)
        self.weights, self.biases, self.norms = [], [], []
        for i, W in enumerate(weights):
            w = torch.tensor(W, device=self.device)
            if w.ndim == 4:
                w = w.permute(3, 2, 0, 1).contiguous(memory_format=self.layout)
            else:
                if job.convs and i == len(job.convs) and form != "channels_last":
                    # Its input is channels-first here, but channels-last in minibnn.
                    c = job.convs[-1]
                    w = w.reshape(-1, c, w.shape[1]).transpose(0, 1).reshape(w.shape)
                w = w.T.contiguous()
            self.weights.append(w.requires_grad_())
            zeros, ones = w.new_zeros(len(w)), w.new_ones(len(w))
            if job.bias:
                self.biases.append(zeros.clone().requires_grad_())
            if job.norm:
                learnt = ones.clone().requires_grad_(), zeros.clone().requires_grad_()
                self.norms.append((zeros, ones, *learnt))
        self.parameters = [*self.weights, *self.biases]
        self.parameters += [p for norm in self.norms for p in norm[2:]]
        self.optimizer = torch.optim.Adam(
            self.parameters, lr=job.learning_rate, fused=True, capturable=self.capturable
        )
        compiled = form == "compiled"
        self.loss = torch.compile(self.batch_loss) if compiled else self.batch_loss
        self.test = torch.compile(self.metrics) if compiled else self.metrics

    def pixels(self, images: Array) -> Any:
        """Bytes to the network's input."""
        x = torch.from_numpy(self.job.pixels(images))
        return x.permute(0, 3, 1, 2).contiguous(memory_format=self.layout) if x.ndim == 4 else x

    def forward(self, x: Any, train: bool) -> Any:
        """The logits."""
        convs = len(self.job.convs)
        last = len(self.weights) - 1
        for i, W in enumerate(self.weights):
            W = Sign.apply(W)
            if i < convs:
                x = functional.conv2d(x, W)
                x = functional.max_pool2d(x, 2) if i in self.job.pooled else x
            else:
                if i == convs and convs:
                    if self.layout is torch.channels_last:
                        x = x.permute(0, 2, 3, 1)
                    x = x.flatten(1)
                x = functional.linear(x, W, self.biases[i] if self.job.bias else None)
            if self.job.norm:
                x = functional.batch_norm(x, *self.norms[i], training=train)
            if i < last:
                x = self.sign(x)
        return x

    def batch_loss(self, x: Any, labels: Any) -> Any:
        """The function to differentiate."""
        return functional.cross_entropy(self.forward(x, True), labels)

    def step(self, row: Any) -> Any:
        """Run a step on these samples; return their loss, on the device."""
        loss = self.loss(self.images[row], self.labels[row])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.job.bound is not None:
            with torch.no_grad():
                for weight in self.weights:
                    weight.clamp_(-self.job.bound, self.job.bound)
        return loss.detach()

    def train(self, rows: Array) -> list[float]:
        """Run a step for each row."""
        losses = [self.step(row) for row in torch.from_numpy(rows).to(self.device)]
        return [float(losses[0]), float(losses[-1])]

    def product(self, a: Array, b: Array) -> Array:
        """The product of two matrices on the host, computed on the device."""
        found: Array = (self.put(a) @ self.put(b)).cpu().numpy()
        return found

    def put(self, array: Array) -> Any:
        """Move an array to the device."""
        return torch.from_numpy(array.copy()).to(self.device)

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def metrics(self, images: Any, labels: Any) -> Any:
        """The sum of the losses and the number of correct labels, from bytes."""
        y = labels.long()
        x = images.flatten(1).float().mul_(self.job.scale).add_(self.job.shift)
        logits = self.forward(x, False)
        loss = functional.cross_entropy(logits, y, reduction="sum")
        return torch.stack([loss, (logits.argmax(1) == y).sum().float()])

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def evaluate(self, images: Any, labels: Any) -> tuple[float, float]:
        """In batches of 1000, as minibnn does; on a GPU all at once, with one read at the end."""
        size = len(images) if self.device.type == "cuda" else 1000
        parts = zip(images.split(size), labels.split(size), strict=True)
        loss, correct = sum(self.test(x, y) for x, y in parts).tolist()
        return loss / len(images), correct / len(images)


def allow_tf32(allowed: bool) -> None:
    """Allow or forbid TF32, in each of PyTorch's settings."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True


if __name__ == "__main__":
    run(PyTorch)
