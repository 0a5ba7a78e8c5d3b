// rows: values as ops see them, rows of bf16 or float32, or some columns of such
// rows. Eight elements at a time are 16 bytes, or 32, where they lie so; what is
// behind the end of a row is zero when it is loaded, and not stored.
struct View {
  u8* at;
  int stride; // elements from row to row
  int half;   // 1: bf16; 0: float32
};

__device__ __forceinline__ bool aligned16(const void* p) { return ((u64)p & 15) == 0; }

// weights8 loads n ≤ 8 of a vector of bf16.
__device__ __forceinline__ void weights8(const bf16* p, int n, float* f) {
  if (n >= 8 && aligned16(p)) {
    unpack(load16(p), f);
    return;
  }
#pragma unroll
  for (int j = 0; j < 8; j++) f[j] = j < n ? from_bf16(p[j]) : 0.f;
}

__device__ __forceinline__ void load8(const View& v, size_t row, int column, int n, float* f) {
  size_t i = row * v.stride + column;
  if (v.half) {
    weights8((const bf16*)v.at + i, n, f);
    return;
  }
  const float* p = (const float*)v.at + i;
  if (n >= 8 && aligned16(p)) {
    floats8(load16(p), load16(p + 4), f);
    return;
  }
#pragma unroll
  for (int j = 0; j < 8; j++) f[j] = j < n ? p[j] : 0.f;
}

__device__ __forceinline__ void store1(const View& v, size_t row, int column, float f) {
  size_t i = row * v.stride + column;
  if (v.half) {
    ((bf16*)v.at)[i] = to_bf16(f);
  } else {
    ((float*)v.at)[i] = f;
  }
}

__device__ __forceinline__ void store8(const View& v, size_t row, int column, int n, const float* f) {
  u8* p = v.at + (row * v.stride + column) * (v.half ? 2 : 4);
  if (n >= 8 && aligned16(p)) {
    if (v.half) {
      store16(p, pack8(f));
    } else {
      store16(p, {__float_as_uint(f[0]), __float_as_uint(f[1]), __float_as_uint(f[2]), __float_as_uint(f[3])});
      store16(p + 16, {__float_as_uint(f[4]), __float_as_uint(f[5]), __float_as_uint(f[6]), __float_as_uint(f[7])});
    }
    return;
  }
#pragma unroll
  for (int j = 0; j < 8; j++)
    if (j < n) store1(v, row, column + j, f[j]);
}

// load4 and store4 are for four, 16 bytes of float32 or 8 of bf16.
__device__ __forceinline__ void load4(const View& v, size_t row, int column, int n, float* f) {
  size_t i = row * v.stride + column;
  const float* p = (const float*)v.at + i;
  if (!v.half && n >= 4 && aligned16(p)) {
    Vec4 x = load16(p);
    f[0] = __uint_as_float(x.x), f[1] = __uint_as_float(x.y), f[2] = __uint_as_float(x.z), f[3] = __uint_as_float(x.w);
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; j++) f[j] = j >= n ? 0.f : v.half ? from_bf16(((const bf16*)v.at)[i + j]) : p[j];
}

__device__ __forceinline__ void store4(const View& v, size_t row, int column, int n, const float* f) {
  float* p = (float*)v.at + row * v.stride + column;
  if (!v.half && n >= 4 && aligned16(p)) {
    store16(p, {__float_as_uint(f[0]), __float_as_uint(f[1]), __float_as_uint(f[2]), __float_as_uint(f[3])});
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; j++)
    if (j < n) store1(v, row, column + j, f[j]);
}

__device__ __forceinline__ float sigmoid(float x) { return 1.f / (1.f + exp2_fast(-LOG2E * x)); }

// span is some new tokens of one request; see delta.cu.
struct alignas(16) Span { int first, count, slot, start; };

// Piece is which columns, of which row, a thread has; n is 0 where there are none.
struct Piece {
  size_t row;
  int column, n;
};
template <int MOST = 8>
__device__ __forceinline__ Piece piece(int rows, int width) {
  int each = (width + MOST - 1) / MOST;
  size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  Piece p = {i / each, (int)(i % each) * MOST, 0};
  if (p.row < (size_t)rows) p.n = min(MOST, width - p.column);
  return p;
}
