//go:build parquet

package wildchat

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/troupe-llm/troupe/bench"
)

// row is a row as the data set's shards have it, as far as types go that a
// reader could stumble over.
type row struct {
	Hash         string       `parquet:"conversation_hash"`
	Model        string       `parquet:"model,dict"`
	Timestamp    time.Time    `parquet:"timestamp,timestamp(microsecond)"`
	Conversation []turn       `parquet:"conversation,list"`
	Turn         int64        `parquet:"turn"`
	Language     string       `parquet:"language"`
	Moderation   []moderation `parquet:"openai_moderation,list"`
	Toxic        bool         `parquet:"toxic"`
	Redacted     bool         `parquet:"redacted"`
}

type turn struct {
	Content  *string    `parquet:"content,optional"`
	Country  *string    `parquet:"country,optional"`
	Header   header     `parquet:"header"`
	Language string     `parquet:"language,optional"`
	Redacted bool       `parquet:"redacted"`
	Role     string     `parquet:"role"`
	Time     *time.Time `parquet:"timestamp,optional,timestamp(microsecond)"`
	Toxic    bool       `parquet:"toxic"`
	ID       int64      `parquet:"turn_identifier"`
}

type header struct {
	AcceptLanguage string `parquet:"accept-language"`
	UserAgent      string `parquet:"user-agent"`
}

type moderation struct {
	Categories struct {
		Harassment bool `parquet:"harassment/threatening"`
	} `parquet:"categories"`
	Flagged bool `parquet:"flagged"`
}

func say(role, language, content string) turn {
	return turn{Role: role, Language: language, Content: &content}
}

// shard writes rows in several row groups and small pages.
func shard(t testing.TB, rows []row, options ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	options = append([]parquet.WriterOption{parquet.PageBufferSize(300), parquet.Compression(&parquet.Snappy)}, options...)
	w := parquet.NewGenericWriter[row](&b, options...)
	for group := range slices.Chunk(rows, 7) {
		if _, err := w.Write(group); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil { // ends a row group
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(data []byte) (texts []string, counts bench.Conversations, err error) {
	for text, err := range First(bytes.NewReader(data), int64(len(data)), &counts) {
		if err != nil {
			return texts, counts, err
		}
		texts = append(texts, text)
	}
	return texts, counts, nil
}

func TestFirst(t *testing.T) {
	toxic, redacted := say("user", "English", "toxic"), say("user", "Chinese", "redacted")
	toxic.Toxic, redacted.Redacted = true, true
	kinds := []row{
		{Conversation: []turn{say("user", "English", " Hello\n"), say("assistant", "English", "Hi"), say("user", "English", "again")}},
		{Conversation: []turn{say("user", "Chinese", "你好")}, Toxic: true, Redacted: true, Language: "French"}, // by its message, not its row
		{Conversation: []turn{say("assistant", "English", "first"), say("user", "English", "second")}},
		{Conversation: []turn{say("user", "French", "Bonjour"), say("user", "English", "not the first")}},
		{Conversation: []turn{toxic, say("user", "English", "later")}},
		{Conversation: []turn{redacted}},
		{Conversation: []turn{say("user", "English", " \t")}},
		{Conversation: []turn{{Role: "user", Language: "English"}}},
		{Conversation: []turn{say("assistant", "English", "alone")}},
		{},
	}
	var rows []row
	want := bench.Conversations{}
	var texts []string
	for i := range 20 {
		for k, r := range kinds {
			if k == 0 { // long ones, so that pages and groups end anywhere
				long := fmt.Sprintf(" Hello %d %s\n", i, strings.Repeat("x", 37*i))
				r.Conversation = append([]turn{say("user", "English", long)}, r.Conversation[1:]...)
				texts = append(texts, strings.TrimSpace(long))
			}
			rows = append(rows, r)
		}
		texts = append(texts, "你好", "second")
		want.Read += 10
		want.Taken += 3
		want.Language++
		want.Toxic++
		want.Redacted++
		want.Empty += 4
	}
	for _, version := range []int{1, 2} {
		got, counts, err := read(shard(t, rows, parquet.DataPageVersion(version)))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, texts) || counts != want {
			t.Errorf("page version %d: %d texts, %+v; want %d, %+v", version, len(got), counts, len(texts), want)
		}
	}
}

// Older writers call the list's levels otherwise.
func TestListsOfOtherNames(t *testing.T) {
	type item struct {
		Role     string `parquet:"role"`
		Content  string `parquet:"content"`
		Language string `parquet:"language"`
		Redacted bool   `parquet:"redacted"`
		Toxic    bool   `parquet:"toxic"`
	}
	type row struct {
		Conversation struct {
			Bag []struct {
				Item item `parquet:"array_element,optional"`
			} `parquet:"bag"`
		} `parquet:"conversation,optional"`
	}
	var r row
	r.Conversation.Bag = append(r.Conversation.Bag, struct {
		Item item `parquet:"array_element,optional"`
	}{item{Role: "user", Content: "Hello", Language: "English"}})
	var b bytes.Buffer
	if err := parquet.Write(&b, []row{r, {}, r}); err != nil {
		t.Fatal(err)
	}
	got, counts, err := read(b.Bytes())
	if err != nil || !slices.Equal(got, []string{"Hello", "Hello"}) || counts.Empty != 1 {
		t.Errorf("%q, %+v, %v", got, counts, err)
	}
}

func TestReadingStopsWhereItIsTold(t *testing.T) {
	var rows []row
	for range 50 {
		rows = append(rows, row{Conversation: []turn{say("user", "English", "Hello")}})
	}
	data := shard(t, rows)
	var counts bench.Conversations
	for _, err := range First(bytes.NewReader(data), int64(len(data)), &counts) {
		if err != nil {
			t.Fatal(err)
		}
		if counts.Taken == 10 {
			break
		}
	}
	if counts.Read != 10 {
		t.Errorf("%d conversations were read for 10", counts.Read)
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	type other struct {
		Text string `parquet:"text"`
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, []other{{"a"}}); err != nil {
		t.Fatal(err)
	}
	whole := shard(t, []row{{Conversation: []turn{say("user", "English", "Hello")}}})
	damaged := bytes.Clone(whole)
	for i := 4; i < 200; i++ {
		damaged[i] ^= 0x5a
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"another table": {b.Bytes(), "no column role"},
		"no parquet":    {[]byte("hello, this is a text"), "shard: "},
		"empty":         {nil, "shard: "},
		"cut off":       {whole[:len(whole)-20], "shard: "},
		"damaged":       {damaged, "shard: "},
	} {
		if texts, _, err := read(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, error %v, want %q", name, texts, err, c.want)
		}
	}
}
