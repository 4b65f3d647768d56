// Bytes from text: two characters are a number in base 91 and hold 13 bits, the lowest first; the
// digits are the characters from ! to ~ without " and < and \. One byte of 0 may be left over.
function bytesOf(text) {
  const digit = (i) => {
    const code = text.charCodeAt(i);
    return code - 33 - (code > 34) - (code > 60) - (code > 92);
  };
  const bytes = [];
  let [held, bits] = [0, 0];
  for (let i = 0; i + 1 < text.length; i += 2) {
    held |= (91 * digit(i) + digit(i + 1)) << bits;
    for (bits += 13; bits >= 8; bits -= 8) {
      bytes.push(held & 255);
      held >>>= 8;
    }
  }
  return Uint8Array.from(bytes);
}

// CRC-32 (ISO 3309): no single changed bit escapes it.
function checksum(text) {
  let crc = -1;
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i);
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
