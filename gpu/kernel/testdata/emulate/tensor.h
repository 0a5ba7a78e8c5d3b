// tensor: tensor.cuh, with C++ in place of its assembly. A map is where a matrix lies,
// its rows and columns, the rows of a tile, and whether of each sixteen those of even
// numbers come first.
struct float4 { float x, y, z, w; };
struct uint2 { u32 x, y; };
struct alignas(64) TensorMap { u64 of[16]; };

inline void barriers_visible() {}
inline void cluster_meet_only() { cluster_meet(); }
inline emulate::Block* block_of(u32 at) { return at / emulate::CTA ? emulate::cluster.at(at / emulate::CTA - 1) : emulate::current->warp->block; }
// copy_tile_rows copies a tile row by row, permuted; outside of the matrix are zeros.
inline void copy_tile_rows(emulate::Block* block, u32 to, const TensorMap& m, int column, int row, u32 barrier) {
  if (to % 1024) emulate::fail("a tile that is not aligned", to);
  if (!block->barriers.count(barrier)) emulate::fail("a tile for no barrier", barrier);
  const long rows = m.of[1], columns = m.of[2], box = m.of[3];
  static std::vector<std::unique_ptr<u8[]>> tiles;
  tiles.push_back(std::make_unique<u8[]>(box * 128));
  u8* tile = tiles.back().get();
  for (long r = 0; r < box; r++)
    for (long c = 0; c < 64; c++) {
      long at = row + r;
      if (m.of[4]) at = at / 16 * 16 + at % 8 * 2 + at % 16 / 8;
      bool inside = at >= 0 && at < rows && column + c < columns;
      u32 place = (u32)(r * 128 + c * 2);
      place ^= (place >> 7 & 7) << 4;
      *(u16*)(tile + place) = inside ? ((const u16*)m.of[0])[at * columns + column + c] : 0;
    }
  if (to + box * 128 > emulate::SHARED) emulate::fail("a tile outside of shared memory", to);
  emulate::bulks.push_back({{block->shared + to, tile, (u32)box * 128, true}, block, barrier});
  if (emulate::draw(2)) emulate::land(emulate::bulks.size() - 1);
}
inline void copy_tile(u32 to, const TensorMap& m, int column, int row, u32 barrier) {
  copy_tile_rows(emulate::current->warp->block, to, m, column, row, barrier);
}
inline void copy_tile_paired(u32 to, const TensorMap& m, int column, int sixteen, u32 barrier) {
  if (!m.of[4]) emulate::fail("rows are no pairs");
  copy_tile_rows(emulate::current->warp->block, to, m, column, sixteen * 16, barrier);
}
inline void store_there(u32 at, float x, float y, u32 barrier) {
  struct Two { float v[2]; };
  static std::vector<std::unique_ptr<Two>> all;
  all.push_back(std::make_unique<Two>(Two{{x, y}}));
  auto* block = block_of(at);
  if (block != block_of(barrier)) emulate::fail("a barrier of another block", at, barrier);
  if (at % 8 || !block->barriers.count(barrier % emulate::CTA)) emulate::fail("store_there: not aligned, or no barrier", at, barrier);
  emulate::bulks.push_back({{emulate::place(at, 8), (const u8*)all.back().get(), 8, true}, block, barrier % emulate::CTA});
  if (emulate::draw(8)) emulate::land(emulate::bulks.size() - 1);
}
inline void store_shared2(u32 at, float x, float y) {
  if (at % 8) emulate::fail("store_shared2: not aligned", at);
  store_shared(at, x), store_shared(at + 4, y);
}
inline float4 load_shared4_floats(u32 at) {
  Vec4 v = load_shared16(at);
  return {__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z), __uint_as_float(v.w)};
}
inline float4 load_fresh4(const float* p) {
  if ((u64)p % 16) emulate::fail("load_fresh4: not aligned", (u64)p);
  return *(const float4*)p;
}

inline u64 describe_rows(u32 at) { return (u64)(at >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62; }
// tiles_product is a warp's part of products of what has the bytes of so many halves: its 16
// rows of a. Where a row is none's, what is read is outside or another's, and thrown away.
template <int N, int K, class Element>
inline void tiles_product(float (&c)[N], u64 a, u64 b, bool add, Element value) {
  struct { float* c; u64 a, b; u32 warp; bool add; } mine = {c, a, b, emulate::current->thread / 32 % 4, add};
  using Mine = decltype(mine);
  emulate::together(&mine, [value](void** all) {
    std::vector<Mine> given;
    for (int i = 0; i < 32; i++) given.push_back(*(Mine*)all[i]);
    auto* block = emulate::current->warp->block;
    auto work = [given, block, value] {
      auto element = [&](u64 describes, int row, int k) {
        u32 at = ((u32)(describes & 0x3fff) << 4) + row * 128 + k * (32 / K);
        at ^= (at >> 7 & 7) << 4;
        if (at + 2 > emulate::SHARED) return NAN;
        return value(&block->shared[at]);
      };
      float left[16][K], right[2 * N][K];
      for (int k = 0; k < K; k++) {
        for (int r = 0; r < 16; r++) left[r][k] = element(given[0].a, given[0].warp * 16 + r, k);
        for (int r = 0; r < 2 * N; r++) right[r][k] = element(given[0].b, r, k);
      }
      for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < N; i++) {
          int row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
          double v[K];
          for (int k = 0; k < K; k++) v[k] = (double)left[row][k] * (double)right[column][k];
          given[lane].c[i] = cut_sum(given[0].add ? given[lane].c[i] : 0.f, v, K);
        }
    };
    emulate::current->warp->products.back().push_back(work);
  });
}
template <int N>
inline void product_tiles(float (&c)[N], u64 a, u64 b) {
  tiles_product<N, 16>(c, a, b, true, [](const u8* at) { return __uint_as_float((u32)(at[0] | at[1] << 8) << 16); });
}
inline float e4m3(u8 code) {
  float v = code & 0x78 ? std::ldexp(8.f + (code & 7), (code >> 3 & 15) - 10) : std::ldexp((float)(code & 7), -9);
  return (code & 127) == 127 ? NAN : code & 128 ? -v : v;
}
template <bool ADD, int N>
inline void product_codes(float (&c)[N], u64 a, u64 b) {
  tiles_product<N, 32>(c, a, b, ADD, [](const u8* at) { return e4m3(*at); });
}
