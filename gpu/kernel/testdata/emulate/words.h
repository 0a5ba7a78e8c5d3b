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
inline void tell_word(Vec4* to, Vec4 v, u32 time) {
  if ((u64)to % 16 || (to->x & 1) == (time & 1)) emulate::fail("tell_word: not aligned, or told before", (u64)to, time);
  v.x = v.x & ~1u | time & 1, *to = v, emulate::progress++;
}
inline Vec4 look_at(const Vec4* at) { return *at; }
inline bool is_of(Vec4 v, u32 time) { return (v.x & 1) == (time & 1); }
inline void tell_four(Vec4* to, float x, float y, float z, float w, u32 time) {
  tell_word(to, {__float_as_uint(x), __float_as_uint(y), __float_as_uint(z), __float_as_uint(w)}, time);
}
inline void tell_eight(Vec4* to, float first, Vec4 v, u32 time) {
  v.x = (v.x & 0xffff0000u) | (__float_as_uint(first) + 0x10000u) >> 17 << 1;
  tell_word(to, v, time);
}
inline uint2 load8(const void* p) { return *(const uint2*)p; }
inline bool __any_sync(u32, bool v) {
  bool any = v;
  for (int i = 16; i > 0; i /= 2) any |= __shfl_xor_sync(FULL, any, i);
  return any;
}
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

// A map is where bf16 lie, how many of each dimension, bytes from one to the next, and how many are a box.
struct alignas(64) TensorMap { u64 of[16]; };
inline void barriers_visible() {}
inline bool barrier_is(u32 at, u32 phase) { return (barrier(at).phase & 1) != phase; }
inline void bring_map(const TensorMap*) {}
inline void copy_box(u32 to, const TensorMap* map, int second, int third, int fourth, int fifth, u32 at) {
  const u64 *base = map->of, *size = base + 1, *stride = base + 6, *box = base + 10;
  static std::vector<std::unique_ptr<u8[]>> boxes;
  u32 line = 0, bytes = 128 * box[1] * box[2] * box[3] * box[4];
  if (to % 1024) emulate::fail("a box that is not aligned", to);
  boxes.push_back(std::make_unique<u8[]>(bytes));
  u8* made = boxes.back().get();
  u64 i[5] = {}, first[5] = {0, (u64)second, (u64)third, (u64)fourth, (u64)fifth};
  for (; line * 128 < bytes; line++) {
    bool inside = true;
    const u8* from = (const u8*)*base;
    for (int d = 1; d < 5; d++) inside &= first[d] + i[d] < size[d], from += (first[d] + i[d]) * stride[d - 1];
    for (u32 c = 0; c < 64; c++) {
      u32 place = line * 128 + c * 2;
      place ^= (place >> 7 & 7) << 4;
      *(u16*)(made + place) = inside ? ((const u16*)from)[c] : 0;
    }
    for (int d = 1; d < 5 && ++i[d] == box[d]; d++) i[d] = 0;
  }
  barrier(at);
  emulate::bulks.push_back({{emulate::place(to, bytes), made, bytes, true}, emulate::current->warp->block, at});
  if (emulate::draw(2)) emulate::land(emulate::bulks.size() - 1);
}
