"""PyTorch: eager, compiled, and for convolutions also in the layout channels_last.

Eager: straight-through functions whose forward is one kernel (`copysign`) and whose backward is
one kernel (`hardtanh_backward`), Adam with `fused=True`, the training set as ready-made float32
tensors.
Compiled: forward, loss and backward by `torch.compile`, the update by the same fused Adam.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from turns import Array, Data, Job, run

ONE = torch.ones(())


class Sign(torch.autograd.Function):  # type: ignore[misc]
    """Sign whose gradient passes; of -0.0 it is -1, where no sum here ends."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """+1 or -1."""
        return torch.copysign(ONE, x)

    @staticmethod
    def backward(ctx: Any, *dy: Any) -> Any:
        """Straight through."""
        return dy[0]


class ClippedSign(torch.autograd.Function):  # type: ignore[misc]
    """Sign whose gradient passes where -1 < x < 1."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """+1 or -1."""
        ctx.save_for_backward(x)
        return torch.copysign(ONE, x)

    @staticmethod
    def backward(ctx: Any, *dy: Any) -> Any:
        """Straight through within the clip."""
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(dy[0], x, -1.0, 1.0)


class PyTorch:
    """Form: eager, compiled or channels_last."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        torch.set_num_threads(job.threads)
        self.job = job
        self.sign = (Sign if job.clip is None else ClippedSign).apply
        self.layout = torch.contiguous_format
        if form == "channels_last":
            self.layout = torch.channels_last
        self.images = self.pixels(data.train_images)
        self.labels = torch.tensor(data.train_labels).long()
        self.weights, self.biases, self.norms = [], [], []
        for i, W in enumerate(weights):
            w = torch.tensor(W)
            if w.ndim == 4:
                w = w.permute(3, 2, 0, 1).contiguous(memory_format=self.layout)
            else:
                if job.convs and i == len(job.convs) and form != "channels_last":
                    # Its input lies channels first here, and channels last in minibnn.
                    c = job.convs[-1]
                    w = w.reshape(-1, c, w.shape[1]).transpose(0, 1).reshape(w.shape)
                w = w.T.contiguous()
            self.weights.append(w.requires_grad_())
            n = len(w)
            if job.bias:
                self.biases.append(torch.zeros(n, requires_grad=True))
            if job.norm:
                learnt = torch.ones(n, requires_grad=True), torch.zeros(n, requires_grad=True)
                self.norms.append((torch.zeros(n), torch.ones(n), *learnt))
        parameters = [*self.weights, *self.biases, *(p for norm in self.norms for p in norm[2:])]
        self.optimizer = torch.optim.Adam(parameters, lr=job.rate, fused=True)
        self.loss = torch.compile(self.batch_loss) if form == "compiled" else self.batch_loss

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
        """What is differentiated."""
        return functional.cross_entropy(self.forward(x, True), labels)

    def train(self, rows: Array) -> list[float]:
        """A step for each row."""
        losses = []
        for row in torch.from_numpy(rows):
            loss = self.loss(self.images[row], self.labels[row])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            if self.job.bound is not None:
                with torch.no_grad():
                    for weight in self.weights:
                        weight.clamp_(-self.job.bound, self.job.bound)
            losses.append(loss.detach())
        return [float(losses[0]), float(losses[-1])]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def evaluate(self, images: Array, labels: Array) -> tuple[float, float]:
        """In batches of 1000, as minibnn does, from bytes."""
        loss = correct = 0.0
        for i in range(0, len(images), 1000):
            x = torch.from_numpy(images[i : i + 1000]).flatten(1)
            y = torch.from_numpy(labels[i : i + 1000]).long()
            logits = self.forward(x.float().mul_(self.job.scale).add_(self.job.shift), False)
            loss += float(functional.cross_entropy(logits, y, reduction="sum"))
            correct += int((logits.argmax(1) == y).sum())
        return loss / len(images), correct / len(images)


if __name__ == "__main__":
    run(PyTorch)
