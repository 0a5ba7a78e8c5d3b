//go:build parquet

package wildchat

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/troupe-llm/troupe/bench"
)

// Readable is nil: this build reads shards.
func Readable() error { return nil }

// names are the columns read, under the list of messages.
var names = [...]string{"role", "content", "language", "redacted", "toxic"}

// message is one message's values in those columns.
type message struct {
	role, content, language string
	redacted, toxic         bool
}

// First yields the first user message of each conversation of a shard, without
// white space around it: those in one of Languages that are neither toxic nor
// redacted. It adds to counts as it goes.
func First(shard io.ReaderAt, size int64, counts *bench.Conversations) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		file, err := parquet.OpenFile(shard, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(1<<20))
		if err != nil {
			yield("", fmt.Errorf("shard: %w", err))
			return
		}
		leaves, err := columnsOf(file.Schema())
		if err != nil {
			yield("", err)
			return
		}
		for _, group := range file.RowGroups() {
			for first, err := range firstMessages(group, leaves) {
				if err != nil {
					yield("", fmt.Errorf("shard: %w", err))
					return
				}
				text, taken := take(counts, first)
				if taken && !yield(text, nil) {
					return
				}
			}
		}
	}
}

// take counts a conversation by its user's first message, nil without one.
func take(c *bench.Conversations, m *message) (text string, taken bool) {
	c.Read++
	if m != nil {
		text = strings.TrimSpace(m.content)
	}
	switch {
	case text == "":
		c.Empty++
	case !slices.Contains(Languages, m.language):
		c.Language++
	case m.redacted:
		c.Redacted++
	case m.toxic:
		c.Toxic++
	default:
		c.Taken++
		return text, true
	}
	return "", false
}

// columnsOf finds the columns of messages, in the order of names. What the
// levels of the list are called differs by the program that wrote the shard.
func columnsOf(schema *parquet.Schema) (leaves [len(names)]int, err error) {
	for i, name := range names {
		leaves[i] = slices.IndexFunc(schema.Columns(), func(path []string) bool {
			return len(path) == 4 && path[0] == "conversation" && path[3] == name
		})
		if leaves[i] < 0 {
			return leaves, fmt.Errorf("the shard has no column %s in a list \"conversation\": is it one of WildChat's?", name)
		}
	}
	return leaves, nil
}

// firstMessages yields the user's first message of each row of a group; nil
// where there is none.
//
// The columns are of one list, so that their values come in step: each is of
// the same message, and one with repetition level 0 begins a row.
func firstMessages(group parquet.RowGroup, leaves [len(names)]int) iter.Seq2[*message, error] {
	return func(yield func(*message, error) bool) {
		var columns [len(names)]column
		for i, leaf := range leaves {
			columns[i].pages = group.ColumnChunks()[leaf].Pages()
			defer columns[i].close()
		}
		var first *message
		rows := int64(0)
		for {
			var v [len(names)]parquet.Value
			for i := range columns {
				var err error
				if v[i], err = columns[i].next(); errors.Is(err, io.EOF) && i == 0 {
					if rows > 0 {
						yield(first, nil)
					}
					return
				} else if err != nil {
					yield(nil, fmt.Errorf("column %s after row %d: %w", names[i], rows, noEOF(err)))
					return
				}
			}
			if v[0].RepetitionLevel() == 0 {
				if rows > 0 && !yield(first, nil) {
					return
				}
				rows++
				first = nil
			}
			if first == nil && text(v[0]) == "user" {
				first = &message{"user", text(v[1]), text(v[2]), truth(v[3]), truth(v[4])}
			}
		}
	}
}

// noEOF makes an end in the middle an error that says so.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// text is a copy: the value's bytes are the page's.
func text(v parquet.Value) string {
	if v.IsNull() || (v.Kind() != parquet.ByteArray && v.Kind() != parquet.FixedLenByteArray) {
		return ""
	}
	return string(v.ByteArray())
}

func truth(v parquet.Value) bool { return v.Kind() == parquet.Boolean && !v.IsNull() && v.Boolean() }

// column reads one column's values.
type column struct {
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buffer [64]parquet.Value
	rest   []parquet.Value // of buffer, not yet taken
}

// next is the next value; io.EOF is the column's end.
func (c *column) next() (parquet.Value, error) {
	for len(c.rest) == 0 {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if err != nil {
				return parquet.Value{}, err
			}
			c.page, c.values = page, page.Values()
		}
		n, err := c.values.ReadValues(c.buffer[:])
		if err != nil && !errors.Is(err, io.EOF) {
			return parquet.Value{}, err
		}
		c.rest = c.buffer[:n]
		if n == 0 {
			parquet.Release(c.page)
			c.page, c.values = nil, nil
		}
	}
	v := c.rest[0]
	c.rest = c.rest[1:]
	return v, nil
}

func (c *column) close() {
	if c.page != nil {
		parquet.Release(c.page)
	}
	_ = c.pages.Close() // only read
}
