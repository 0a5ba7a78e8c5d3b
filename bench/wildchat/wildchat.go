// Package wildchat reads requests that people made: the first message of each
// conversation of the WildChat data set (arXiv:2405.01470), from the parquet
// shards in which it is published.
//
// It reads no more of a shard than it needs: five of its columns, page by page,
// as far as conversations are asked for.
//
// Parquet's library is a third of all that a build would download, so it is behind
// the build tag "parquet", which releases have.
package wildchat

import "fmt"

// The published data set, in so many shards.
const (
	Repo   = "allenai/WildChat-4.8M"
	Shards = 86
)

// Shard is the name of shard i in the data set's repository. Benchmarks begin
// with shard 0.
func Shard(i int) string { return fmt.Sprintf("data/train-%05d-of-%05d.parquet", i, Shards) }

// Languages are those whose messages are taken.
var Languages = []string{"English", "Chinese"}
