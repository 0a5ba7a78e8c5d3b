// pass runs pass_hopper.cu: FILE has a Job, what it reads, and x and pages, which it
// replaces.
#include "emulate.h"
#include "words.h"
#define __align__(n)
#define NEGATIVE_INFINITY (-INFINITY)
u8 memory[1];
#include "../../pass_hopper.cu"

struct Job {
  int layers, hidden, intermediate, blocks, length, window, slot, stride, pages, norms, biases, ring, passes, words, vocab, seed;
};

int main(int argc, char** argv) {
  Job j;
  FILE* f = emulate::open(argc, argv, j);
  auto read = [&](size_t bytes) { return emulate::read(f, bytes); };
  int width = (HEADS + 2 * KV_HEADS) * HEAD_DIM;
  size_t pages = (size_t)j.pages * 2 * KV_HEADS * PAGE_SIZE * HEAD_DIM * 2;
  std::vector<PassLayer> layers(j.layers);
  std::vector<TensorMap> maps;
  auto map = [&](const u8* at, u64 in, u64 rows, u64 second, u64 pair) {
    maps.push_back({{(u64)at, 64, 8, in / 64, second, rows / 8, in * 2, 128, in * rows * 2, in * 16, 64, 8, 2 * WARPS / second / pair, second, pair}});
  };
  int pair = j.hidden <= 2 * STEP ? 2 : 1;
  for (auto& l : layers) {
    map(read((size_t)width * j.hidden * 2), j.hidden, width, 1, pair);
    map(read((size_t)j.hidden * HEADS * HEAD_DIM * 2), HEADS * HEAD_DIM, j.hidden, 1, 1);
    map(read((size_t)j.intermediate * j.hidden * 4), j.hidden, j.intermediate, 2, 1);
    map(read((size_t)j.hidden * j.intermediate * 2), j.intermediate, j.hidden, 1, 1);
    l.norm = (bf16*)read(j.hidden * 2), l.mlp_norm = (bf16*)read(j.hidden * 2);
    l.q_norm = j.norms ? (bf16*)read(HEAD_DIM * 2) : nullptr, l.k_norm = j.norms ? (bf16*)read(HEAD_DIM * 2) : nullptr;
    maps.push_back({{0, 64, 1u << 31, 2, 1, 1, 256, 128, 128, 128, 64, 16, 2, 1, 1}}); // pages, which are read last
    l.bias = j.biases ? (bf16*)read(width * 2) : nullptr;
  }
  PassArgs a = {};
  int position = j.length - 1, zero = 0;
  std::vector<u64> words(j.words / 8);
  std::vector<u32> counts = {(u32)j.passes, 0};
  a.table = (int*)read((size_t)j.stride * 4), a.angles = (float*)read((size_t)j.length * HEAD_DIM * 4);
  map(read((size_t)j.vocab * j.hidden * 2), j.hidden, j.vocab, 1, pair);
  a.head_norm = (bf16*)read(j.hidden * 2), a.vocab = j.vocab;
  long at = ftell(f);
  a.x = (float*)read(j.hidden * 4), a.logits = (float*)read(j.vocab * 4);
  for (int i = 0; i < j.layers; i++) layers[i].kv = (bf16*)read(pages), maps[i * PER_LAYER + PER_LAYER - 1].of[0] = (u64)layers[i].kv;
  a.layers = layers.data(), a.maps = maps.data(), a.positions = &position, a.token_slots = a.row_slots = &zero, a.row_lens = &j.length;
  a.words = words.data(), a.counts = counts.data(), a.n_layers = j.layers, a.hidden = j.hidden, a.intermediate = j.intermediate;
  a.table_stride = j.stride, a.window = j.window ? j.window : 0x7fffffff, a.eps = 1e-6f, a.scale = LOG2E / sqrtf(HEAD_DIM);
  auto kernel = [&] {
    if (j.ring == 4) decode_pass_4(a); else decode_pass_5(a);
  };
  emulate::run(j.blocks, j.blocks, ALL_THREADS, kernel);
  if (counts[0] != (u32)j.passes + 1 || counts[1] != 0) emulate::fail("passes are not counted", counts[0], counts[1]);
  fseek(f, at, SEEK_SET);
  fwrite(a.x, 4, j.hidden, f), fwrite(a.logits, 4, j.vocab, f);
  for (auto& l : layers) fwrite(l.kv, 1, pages, f);
  return fclose(f);
}
