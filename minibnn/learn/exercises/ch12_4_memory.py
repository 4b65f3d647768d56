"""The memory of a packed network

A network for a microcontroller has `sizes` such as (9, 64, 32, 3): 9 features,
two hidden layers, 3 classes. Each feature is a 16-bit number, and a
thermometer of B thresholds makes B bits of it. So the first layer has 9 B
inputs. How many bytes of flash does the network take?

    code        2 bytes for each threshold of the thermometer
    weights     one bit each. The bits of a neuron fill words of 32 bits, and
                each neuron begins a new word, so its last one may have spare
                bits
    hidden      2 bytes for each hidden neuron: its integer threshold
    scores      6 bytes for each class: a factor of 2 bytes, a summand of 4

And how many bytes of RAM, while it computes? A layer reads bits and writes
bits, so two buffers are enough, which change places. A buffer holds the bits
in words of 32. What has to be held is the code and the bits of each hidden
layer, not the scores. With one hidden layer: the code in one buffer, the
hidden bits in the other. With more, each buffer has the size of the largest of
those that it has to hold: the first one holds the code, the second hidden
layer, the fourth; the second one holds the first hidden layer, the third.

(This is a simple count. The header that export_c writes also stores which
feature each threshold belongs to, keeps small thresholds in one byte, and
counts the scores in its RAM. So it states other numbers.)
"""

from itertools import pairwise


def words(bits):
    """How many words of 32 bits hold these bits."""
    return -(-bits // 32)  # hole: rounded up


def flash(sizes, B):
    """Bytes of constants."""
    features, *hidden, classes = sizes
    layers = [features * B, *hidden, classes]
    code = 2 * features * B  # hole: the thresholds of the thermometer
    # hole: `weights`, in bytes; pairwise(layers) has (n_in, n_out) of each layer
    weights = sum(4 * words(n_in) * n_out for n_in, n_out in pairwise(layers))
    # end of hole
    thresholds = 2 * sum(hidden)  # hole: of the hidden neurons
    scores = 6 * classes  # hole: a factor and a summand for each class
    return code + weights + thresholds + scores


def ram(sizes, B):
    """Bytes of the two buffers."""
    features, *hidden, _ = sizes
    held = [features * B, *hidden]  # bits
    # hole: each buffer is as large as what it has to hold at most
    return 4 * words(max(held[::2])) + 4 * words(max(held[1::2]))
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "Rounded up: -(-bits // 32), or (bits + 31) // 32.",
    "A layer of n_out neurons with n_in inputs takes 4 * words(n_in) * n_out bytes: round up for "
    "each neuron, not for the layer.",
    "The first layer has features * B inputs, which is layers[0]. The thresholds of the code are "
    "as many, 2 bytes each.",
    "held[::2] are the first, the third and so on, held[1::2] the others; 4 * words(max(...)) is "
    "the size of a buffer.",
]

NETS = [((9, 64, 3), 8), ((5, 40, 20, 4), 7), ((3, 40, 72, 10, 4), 11), ((9, 20, 64, 3), 8),
        ((9, 20, 20, 320, 3), 8)]  # fmt: skip
CHECKS = [
    Agrees(words, [1, 31, 32, 33, 72, 0], "words"),
    Agrees(flash, NETS, "flash", points=3),
    Agrees(ram, NETS, "RAM", points=2),
]


@mistake(words, "words rounded down")
def down(bits):
    """33 bits do not fit into one word. Round up."""
    return bits // 32


@mistake(words, "one word more than needed")
def one_more(bits):
    """bits // 32 + 1 is right except where the bits fill their words: 32 bits take one word."""
    return bits // 32 + 1


@mistake(words, "bytes, not words")
def in_bytes(bits):
    """This is how many *bytes* hold the bits. A word has 32 bits."""
    return -(-bits // 8)


def _flash(sizes, B, bytes_of, *, code=2, last=False):
    features, *hidden, classes = sizes
    layers = [features * B, *hidden, classes]
    weights = sum(bytes_of(a, b) for a, b in pairwise(layers))
    thresholds = 2 * (sum(hidden) + last * classes)
    return code * features * B + weights + thresholds + 6 * classes


@mistake(flash, "weights without spare bits")
def no_padding(sizes, B):
    """The bits of all neurons follow one another here, which is how minibnn's *file* keeps them. On
    the device each neuron begins a new word. Round up for each neuron."""
    return _flash(sizes, B, lambda a, b: -(-a * b // 8))


@mistake(flash, "weights with the layer rounded up")
def layer_rounded(sizes, B):
    """The weights of a layer are rounded up to whole words, all neurons together. Each neuron
    begins a new word, so round up for each of them."""
    return _flash(sizes, B, lambda a, b: 4 * -(-a * b // 32))


@mistake(flash, "a byte for each weight")
def byte_each(sizes, B):
    """A weight is one bit. Eight of them are a byte."""
    return _flash(sizes, B, lambda a, b: a * b)


@mistake(flash, "words counted as bytes")
def words_as_bytes(sizes, B):
    """A word of 32 bits has 4 bytes."""
    return _flash(sizes, B, lambda a, b: words(a) * b)


@mistake(flash, "thresholds for the classes, too")
def last_thresholds(sizes, B):
    """The last layer has no signs: its classes have a factor and a summand each, and no
    threshold. Only hidden neurons have one."""
    return _flash(sizes, B, lambda a, b: 4 * words(a) * b, last=True)


@mistake(flash, "a network without its code")
def without_code(sizes, B):
    """The thresholds of the thermometer are missing. Without them the device cannot make bits of
    its readings."""
    return _flash(sizes, B, lambda a, b: 4 * words(a) * b, code=0)


@mistake(flash, "4 bytes for each threshold of the code")
def with_features(sizes, B):
    """minibnn's *file* also stores the feature that each threshold belongs to, in 2 bytes more.
    Here each threshold takes 2 bytes."""
    return _flash(sizes, B, lambda a, b: 4 * words(a) * b, code=4)


@mistake(ram, "a buffer for every layer")
def all_buffers(sizes, B):
    """Each layer has a buffer of its own here. When the second hidden layer is written, nobody
    needs the code any more: use its buffer again."""
    features, *hidden, _ = sizes
    return sum(4 * words(n) for n in [features * B, *hidden])


@mistake(ram, "two buffers of the largest size")
def both_largest(sizes, B):
    """It works, and wastes RAM: the largest of all is held by one of the two buffers only."""
    features, *hidden, _ = sizes
    return 8 * words(max(features * B, *hidden))


@mistake(ram, "two buffers for the two largest")
def two_largest(sizes, B):
    """A buffer cannot choose what it holds: they change places after each layer. If the code and
    the second hidden layer are the largest two, both lie in the first buffer."""
    features, *hidden, _ = sizes
    return 4 * sum(sorted(map(words, [features * B, *hidden]))[-2:])


@mistake(ram, "the RAM of the largest pair of neighbours")
def largest_pair(sizes, B):
    """This is the most that is held at one moment. But each of the two buffers keeps its size, and
    they may hold the most at different moments."""
    features, *hidden, _ = sizes
    return 4 * max(words(a) + words(b) for a, b in pairwise([features * B, *hidden]))


@mistake(ram, "a buffer with the features in the place of their code")
def uncoded(sizes, B):
    """What the first layer reads are the bits of the code: B for each feature."""
    features, *hidden, _ = sizes
    held = [features, *hidden]
    return 4 * words(max(held[::2])) + 4 * words(max(held[1::2]))
