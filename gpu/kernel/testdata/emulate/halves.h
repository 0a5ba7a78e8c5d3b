// halves: what fp8.cuh does by instructions.
#pragma once
#include "emulate.h"

inline u16 half_of(float f) {
  _Float16 h = (_Float16)f;
  u16 bits;
  memcpy(&bits, &h, 2);
  return bits;
}
inline double of_half(u32 bits) {
  u16 low = bits;
  _Float16 h;
  memcpy(&h, &low, 2);
  return h;
}
inline u32 halves(float lo, float hi) { return half_of(min(max(lo, -65504.f), 65504.f)) | (u32)half_of(min(max(hi, -65504.f), 65504.f)) << 16; }
inline float of_code(u32 code) {
  int exponent = code >> 3 & 15, fraction = code & 7;
  if ((code & 127) == 127) return NAN;
  float v = exponent ? std::ldexp(8.f + fraction, exponent - 10) : std::ldexp((float)fraction, -9);
  return code & 128 ? -v : v;
}
inline void widen(u32 codes, u32& lo, u32& hi) {
  u16 h[4];
  for (int i = 0; i < 4; i++) h[i] = half_of(of_code(codes >> 8 * i & 255));
  memcpy(&lo, h, 4), memcpy(&hi, h + 2, 4);
}
struct HalfProduct {
  static double of(u32 a, u32 b) { return of_half(a) * of_half(b); }
};
inline void multiply_add_halves(float* c, const u32* a, u32 b0, u32 b1) { multiply_m16n8k16(c, a, b0, b1, HalfProduct{}); }
