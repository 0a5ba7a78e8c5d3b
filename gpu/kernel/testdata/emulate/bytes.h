// bytes: whole numbers of a warp, and products of them: see hopper.cuh.
struct float2 { float x, y; };
inline float2 load_shared_floats(u32 from) { return shared_load<float2>(from); }
inline void cluster_arrive() {} // what may follow it follows cluster_wait, too
inline void cluster_wait() { cluster_meet(); }
inline u32 warp_most(u32 v) {
  emulate::together(&v, [](void** all) {
    u32 most = 0;
    for (int i = 0; i < 32; i++) most = max(most, *(u32*)all[i]);
    for (int i = 0; i < 32; i++) *(u32*)all[i] = most;
  });
  return v;
}
inline int warp_total(int v) {
  emulate::together(&v, [](void** all) {
    u32 total = 0;
    for (int i = 0; i < 32; i++) total += *(u32*)all[i];
    for (int i = 0; i < 32; i++) *(u32*)all[i] = total;
  });
  return v;
}
inline float reciprocal(float x) { return 1 / x; }
inline void multiply_add_bytes(int* c, const u32* a, u32 b0, u32 b1) {
  struct { int* c; const u32* a; u32 b[2]; } mine = {c, a, {b0, b1}};
  using Mine = decltype(mine);
  emulate::together(&mine, [](void** all) {
    auto at = [&](int i) { return (Mine*)all[i]; };
    for (int lane = 0; lane < 32; lane++)
      for (int i = 0; i < 4; i++) {
        int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 32; k++) {
          u32 left = at(row % 8 * 4 + k % 16 / 4)->a[row / 8 + k / 16 * 2], right = at(column * 4 + k % 16 / 4)->b[k / 16];
          at(lane)->c[i] += (int)(left >> k % 4 * 8 & 255) * (signed char)(right >> k % 4 * 8);
        }
      }
  });
}
inline void keep(u32&) {}
inline int __clz(int v) { return __builtin_clz(v); }
inline u32 __umulhi(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
