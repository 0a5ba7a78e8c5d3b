// What is used of NCCL, whose header comes with none of CUDA's packages.
#include <stddef.h>

typedef struct {
	char bytes[128];
} ncclUniqueId;
typedef struct ncclComm *ncclComm_t;
enum { troupe_nccl_float32 = 7, troupe_nccl_bfloat16 = 9, troupe_nccl_sum = 0 };

int ncclGetVersion(int *);
int ncclGetUniqueId(ncclUniqueId *);
int ncclCommInitRank(ncclComm_t *, int ranks, ncclUniqueId, int rank);
int ncclAllReduce(const void *from, void *to, size_t count, int type, int op, ncclComm_t, void *stream);
int ncclCommAbort(ncclComm_t);
const char *ncclGetErrorString(int);
