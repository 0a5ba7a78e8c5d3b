//go:build !parquet

package wildchat

import (
	"errors"
	"io"
	"iter"

	"github.com/troupe-llm/troupe/bench"
)

// Readable says that this build reads no shards.
func Readable() error {
	return errors.New("this program was built without parquet, which WildChat's shards are in: build it with -tags parquet, or take a release")
}

// First yields that error.
func First(io.ReaderAt, int64, *bench.Conversations) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", Readable()) }
}
