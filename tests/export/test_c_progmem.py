"""Headers on machines that read flash by instructions of their own: AVR, simulated, and a stand-in."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from c_headers import C99, CPP, WARNINGS, build, check_program, compiler, write_program
from coded_models import coded
from integer_programs import random_program
from packed_models import dense, ink

from minibnn import Activation, BatchNorm, Sequential, SignSTE, pack
from minibnn.export.c import export_c
from minibnn.export.vectors import vectors_of
from minibnn.recipes import RECIPES

AVR = ["avr-gcc", "-std=c99", *WARNINGS, "-Os"]
MEGA = [*AVR, "-mmcu=atmega2560"]
# The UART is what the simulator prints; it ends when the machine sleeps without interrupts.
MAIN = """
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
{headers}
static void put(int c)
{{
    while (!(UCSR0A & (1 << UDRE0))) {{
    }}
    UDR0 = (uint8_t)c;
}}
int main(void)
{{
    UCSR0B = 1 << TXEN0;
    {statements}
    put('\\n');
    cli();
    sleep_enable();
    sleep_cpu();
    return 0;
}}
"""
LABELS = """
    uint8_t image[NET_INPUT_BYTES], i;
    put('0' + net_selftest());
    for (i = 0; i < NET_VECTORS; i++) {
        memcpy_P(image, net_images[i], sizeof image);
        put('0' + net_predict(image));
    }
"""


@pytest.fixture(scope="module")
def seed():
    return pack(RECIPES["seed"]().build().initialize(0), (28, 28))


def avr(folder, headers, statements):
    """Compile a program for an ATmega2560; what it prints in the simulator."""
    compiler("avr-gcc")
    compiler("simavr")
    (folder / "main.c").write_text(MAIN.format(headers=headers, statements=statements))
    build(folder, MEGA, ["main.c"], "main.elf")
    done = subprocess.run(
        ["simavr", "-m", "atmega2560", "-f", "16000000", "main.elf"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    return re.search(r"([!-~]+)\.\n", done.stderr.replace("\x1b[32m", ""))[1]


def listed(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def test_the_seeds_network_runs_on_an_avr_from_flash(seed, tmp_path):
    export_c(seed, tmp_path / "net.h", name="net")
    printed = avr(tmp_path, '#define NET_SELFTEST\n#include "net.h"', LABELS)
    assert printed == "0" + "".join(map(str, vectors_of(seed).labels))
    compiler("avr-nm")
    compiler("avr-size")
    sizes = {line[0]: int(line[1]) for line in listed(tmp_path, "avr-size", "-A", "main.elf")
             if len(line) == 3 and line[1].isdigit()}  # fmt: skip
    assert sizes[".text"] > seed.nbytes
    assert (sizes.get(".data", 0), sizes.get(".bss", 0)) == (0, 0)
    names = re.findall(r"^static const \w+ (net_\w+)\[", (tmp_path / "net.h").read_text(), re.M)
    assert {"net_weights_0", "net_thresholds_0", "net_a", "net_images", "net_labels"} <= {*names}
    places = {line[-1]: line[-2] for line in listed(tmp_path, "avr-nm", "main.elf")}
    assert {places[name] for name in names} == {"t"}  # text


def test_a_network_that_an_avr_damages_fails_its_selftest(seed, tmp_path):
    export_c(seed, tmp_path / "net.h", name="net")
    text = (tmp_path / "net.h").read_text()
    start = text.rindex("static const net_word")
    place = text.index("0x", start)
    wrong = f"0x{int(text[place : place + 10], 16) ^ 1:08X}"
    (tmp_path / "net.h").write_text(text[:place] + wrong + text[place + 10 :])
    printed = avr(tmp_path, '#define NET_SELFTEST\n#include "net.h"', "put('0' + net_selftest());")
    assert printed == "1"


@pytest.mark.parametrize("k", range(4))
def test_integer_programs_on_an_avr(k, tmp_path):
    """Where int has 16 bits; the self-tests compare scores, labels and constants."""
    seeds = range(8)
    for s in seeds:
        packed = random_program(np.random.default_rng([k, s]))
        images = np.zeros((3, *packed.input_shape), np.uint8)
        images[1] = 255
        images[2] = np.random.default_rng(s).integers(0, 256, packed.input_shape)
        export_c(packed, tmp_path / f"m{s}.h", name=f"m{s}", images=images)
    headers = "\n".join(f'#define M{s}_SELFTEST\n#include "m{s}.h"' for s in seeds)
    statements = "\n".join(f"put('0' + m{s}_selftest());" for s in seeds)
    assert avr(tmp_path, headers, statements) == "0" * len(seeds)


@pytest.mark.parametrize("name", ["thermometer", "int16 falling"])
def test_coded_inputs_on_an_avr(name, tmp_path, rng):
    packed, x = coded(name, rng)
    export_c(packed, tmp_path / "net.h", name="net", images=x[:12])
    header = '#define NET_SELFTEST\n#include "net.h"'
    assert avr(tmp_path, header, "put('0' + net_selftest());") == "0"


@pytest.mark.parametrize("language", ["c", "c++"])
def test_what_does_not_fit_is_an_error(language, seed, tmp_path):
    compiler("avr-gcc")
    standard = "-std=c99" if language == "c" else "-std=c++11"

    def wide(*sizes):
        layers = [ink()[0]]
        for n_in, n_out in pairwise((784, *sizes)):
            layers += [dense(n_in, n_out), BatchNorm(n_out), Activation(SignSTE())]
        return pack(Sequential(*layers, dense(sizes[-1], 3)).initialize(0), (784,))

    sources = {
        "small": seed,
        "wide": wide(340),
        "large": wide(300, 800, 100),
        "images": pack(RECIPES["larq-cnn"]().build().initialize(0), (28, 28)),
    }
    for name, packed in sources.items():
        export_c(packed, tmp_path / f"{name}.h", name="net")

    def message(name, device, *options):
        (tmp_path / "one.c").write_text(
            f'#include "{name}.h"\nint run(const uint8_t *x);\n'
            "int run(const uint8_t *x) { return net_predict(x); }\n"
        )
        done = subprocess.run(
            ["avr-gcc", "-x", language, standard, *WARNINGS, "-Os", f"-mmcu={device}", *options,
             "-c", "one.c"], cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        return re.findall(r"error: #error \"?(.*)", done.stderr), done.returncode

    assert message("small", "atmega328p") == ([], 0)
    [flash], code = message("small", "atmega8")
    assert "NET_FLASH_BYTES: this device has less flash" in flash
    assert code == 1
    [wide], _ = message("wide", "atmega2560")
    assert "NET_LARGEST_CONSTANT: expected less than 32 KiB" in wide
    [far], _ = message("large", "atmega2560")
    assert "NET_FLASH_BYTES: expected less than 64 KiB of constants on AVR" in far
    assert message("images", "atmega2560") == ([], 0)
    [ram], _ = message("images", "atmega168")
    assert "NET_SCRATCH_BYTES: this device has less RAM" in ram
    assert message("images", "atmega168", "-DNET_NO_MEMORY_CHECK") == ([], 0)


# A stand-in for <avr/pgmspace.h>: constants are in a section of their own, which `start` copies and
# fills with other bytes. So only the functions of this header read them.
STAND_IN = """
#ifndef STAND_IN
#define STAND_IN
#include <stdint.h>
#include <string.h>
#define PROGMEM __attribute__((section("progmem")))
extern const unsigned char *flash_copy;
extern const unsigned char __start_progmem[], __stop_progmem[];
#define moved(p) (flash_copy + ((const unsigned char *)(p) - __start_progmem))
static inline void *memcpy_P(void *to, const void *from, size_t n)
{
    return memcpy(to, moved(from), n);
}
#define PGM_READ(name, type)                                 \\
    static inline type name(const void *p)                   \\
    {                                                        \\
        type value;                                          \\
        memcpy_P(&value, p, sizeof value);                   \\
        return value;                                        \\
    }
PGM_READ(pgm_read_byte, uint8_t)
PGM_READ(pgm_read_word, uint16_t)
PGM_READ(pgm_read_dword, uint32_t)
#endif
"""
START = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <avr/pgmspace.h>
void start(void);
const unsigned char *flash_copy;
void start(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)(__stop_progmem - __start_progmem);
    unsigned char *const first = (unsigned char *)((uintptr_t)__start_progmem / page * page);
    unsigned char *const copy = (unsigned char *)malloc(size);
    memcpy(copy, __start_progmem, size);
    flash_copy = copy;
    if (mprotect(first, (size_t)(__stop_progmem - first), PROT_READ | PROT_WRITE))
        abort();
    memset((unsigned char *)(uintptr_t)__start_progmem, 0xA5, size);
}
"""


@pytest.mark.parametrize("language", ["gcc", "g++"])
def test_every_constant_is_read_as_flash(language, seed, tmp_path):
    """With integer programs of all kinds; without an AVR."""
    compiler(language)
    models = []
    larq = pack(RECIPES["larq-cnn"]().build().initialize(0), (28, 28))
    programs = (random_program(np.random.default_rng([9, s])) for s in range(30))
    for packed in (seed, larq, *programs):
        models.append((packed, vectors_of(packed).images))
    write_program(tmp_path, models)
    (tmp_path / "avr").mkdir()
    (tmp_path / "avr" / "pgmspace.h").write_text(STAND_IN)
    (tmp_path / "start.c").write_text(START)
    standard = C99 if language == "gcc" else CPP
    options = [
        "-I.",
        "-DNAME_PROGMEM=1",
        "-DSTART=start();",
        "-DNAME_POPCOUNT=3",
        "-include",
        "start.h",
    ]
    (tmp_path / "start.h").write_text('#ifdef __cplusplus\nextern "C"\n#endif\nvoid start(void);\n')
    build(tmp_path, ["gcc", "-I.", "-c"], ["start.c"], "start.o")
    build(tmp_path, [language, *standard, *options], ["main.c", "-x", "none", "start.o"])
    check_program(tmp_path, models)
