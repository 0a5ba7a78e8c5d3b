// delta: what the kernels of the gated delta rule share. It comes after rows.cuh.
struct DeltaArgs {
  View query, key, value, a, b, y;
  const float* decay;
  const float* step_bias;
  float* state;
  const int* slots;
  const int* positions;
  const Span* spans;
  const int* count; // of spans; null: as many as were launched for
  int heads, key_heads, key_dim, value_dim;

  __device__ __forceinline__ float* of(int slot, int head) const { return state + ((size_t)slot * heads + head) * key_dim * value_dim; }
};

__device__ __forceinline__ float load1(const View& v, size_t row, int column) {
  size_t i = row * v.stride + column;
  return v.half ? from_bf16(((const bf16*)v.at)[i]) : ((const float*)v.at)[i];
}

// log_decay is the logarithm of what a state keeps: −decay·softplus(x).
__device__ __forceinline__ float log_decay(float x, float decay) { return -decay * (x > 20.f ? x : log1pf(expf(x))); }
