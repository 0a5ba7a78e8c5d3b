// words: what blocks of one launch do that all run at once: they are emulated as one
// cluster. It stands in for words.cuh, and for some of common.cuh.
#pragma once
struct uint2 { u32 x, y; };
struct float2 { float x, y; };
inline uint2 make_uint2(u32 x, u32 y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float from_bf16(bf16 v) { return __uint_as_float((u32)v << 16); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline u32 atomicAdd(u32* at, u32 n) { return (*at += n) - n; }

inline void tell(u64* to, u32 data, u32 time) { *to = (u64)time << 32 | data, emulate::progress++; }
inline Vec4 look(const u64* at) {
  if ((u64)at % 16) emulate::fail("look: not aligned", (u64)at);
  return {(u32)at[0], (u32)(at[0] >> 32), (u32)at[1], (u32)(at[1] >> 32)};
}
inline uint2 look_at_one(const u64* at) { return {(u32)*at, (u32)(*at >> 32)}; }
inline void look_again() { emulate::wait(); }
inline void bring_to_l2(const void*) {}
inline Vec4 load16(const void* p) { Vec4 v; memcpy(&v, p, 16); return v; }

inline u64 load_shared8(u32 from) { return shared_load<u64>(from); }
inline float load_shared_float(u32 from) { return shared_load<float>(from); }
inline float2 load_shared_floats(u32 from) { return shared_load<float2>(from); }
template <class T>
inline void shared_store(u32 to, T v) {
  if (to % sizeof v) emulate::fail("a store that is not aligned", to);
  memcpy(emulate::place(to, sizeof v), &v, sizeof v);
}
inline void store_shared4(u32 to, u32 v) { shared_store(to, v); }
inline void store_shared_words(u32 to, u32 a, u32 b) { shared_store(to, (u64)b << 32 | a); }
inline void store_shared_floats(u32 to, float2 v) { shared_store(to, v); }
inline void store_shared16(u32 to, Vec4 v) { shared_store(to, v); }

inline float warp_sum(float v) {
  for (int i = 16; i > 0; i /= 2) v += __shfl_xor_sync(FULL, v, i);
  return v;
}

// A map is where a matrix lies, its inputs and rows, how many times, and of a piece how
// many rows, times and steps.
struct alignas(64) TensorMap { u64 of[16]; };
inline void barriers_visible() {}
inline void bring_map(const TensorMap*) {}
inline void copy_piece_of(u32 to, const TensorMap* map, int column, int row, int step, u32 at) {
  const u64* m = map->of;
  const long in = m[1], rows = m[2], box = m[4];
  static std::vector<std::unique_ptr<u8[]>> pieces;
  u32 bytes = box * m[5] * m[6] * 128;
  if (to % 1024) emulate::fail("a piece that is not aligned", to);
  pieces.push_back(std::make_unique<u8[]>(bytes));
  u8* piece = pieces.back().get();
  u32 line = 0;
  for (u64 s = 0; s < m[6]; s++)
    for (u64 h = 0; h < m[5]; h++)
      for (long r = 0; r < box; r++, line++)
        for (u32 c = 0; c < 64; c++) {
          bool inside = row + r < rows && h < m[3] && (long)(step + s) < in / 512;
          u32 place = line * 128 + c * 2;
          place ^= (place >> 7 & 7) << 4;
          *(u16*)(piece + place) = inside ? ((const u16*)m[0])[(h * rows + row + r) * in + (step + s) * 512 + column + c] : 0;
        }
  barrier(at);
  emulate::bulks.push_back({{emulate::place(to, bytes), piece, bytes, true}, emulate::current->warp->block, at});
  if (emulate::draw(2)) emulate::land(emulate::bulks.size() - 1);
}
