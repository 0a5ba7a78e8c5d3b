// moe_codes: codes of experts as numbers of bf16. It comes after moe.cuh; moe_tiles.cuh has
// how codes lie.

// Bits of a code in their places of a bf16 are its number but for the exponent's bias:
// pairs of E4M3 in CODES8, of E2M1 in CODES4. Whole words turn, so that what leaves one
// half comes into the other.
#define CODES8 0x87f087f0u
#define CODES4 0x81c081c0u
#define REST4 0x06030603u
__device__ __forceinline__ u32 turn(u32 word, int left) { return word << left | word >> (32 - left & 31); }

// Of a word of four codes one pair is in its place, the other in two parts.
__device__ __forceinline__ u32 pair8(u32 word, int i) {
  return times(i == 0 ? word & CODES8 : turn(word, 8) & 0x07700770u | turn(word, 12) & 0x80808080u, 0x7b807b80u); // · 2¹²⁰
}
// Of two words of eight codes each three pairs are so many bits from their places, and what
// is left of both words makes two more.
__device__ __forceinline__ u32 pair4(u32 a, u32 b, int i, u32 by) {
  u32 rest = a & REST4 | turn(b, 2) & ~REST4;
  int left = 0xca406a40u >> 4 * i & 15; // of eight pairs
  return times(turn(i % 4 == 3 ? rest : i < 4 ? a : b, left) & CODES4, by);
}
// What is by, of the i-th scale of four: 2 to the power of its exponent, of both numbers, and
// 126 more.
__device__ __forceinline__ u32 by4(u32 scales, int i) { return __byte_perm(scales, 0, 0x4040 + 0x101 * i) << 7; }
