package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TraceFormat names who published a trace, and thereby its columns.
type TraceFormat string

// The formats that are read.
const (
	// Qwen is the Bailian traces' (arXiv:2506.02634): JSON lines with
	// timestamp in seconds, input_length, output_length, chat_id,
	// parent_chat_id, turn, type, and hash_ids of 16-token blocks.
	Qwen TraceFormat = "qwen"
	// Mooncake is JSON lines (arXiv:2407.00079) with timestamp in ms,
	// input_length, output_length, and hash_ids of 512-token blocks.
	Mooncake TraceFormat = "mooncake"
	// Azure is CSV of AzurePublicDataset, 2023 and 2024: TIMESTAMP (date and
	// time), ContextTokens, GeneratedTokens.
	Azure TraceFormat = "azure"
	// BurstGPT is CSV (arXiv:2401.17644) with Timestamp in seconds, Request
	// tokens, Response tokens, and columns that are not used.
	BurstGPT TraceFormat = "burstgpt"
)

// TraceFormats are all of them.
var TraceFormats = []TraceFormat{Qwen, Mooncake, Azure, BurstGPT}

// Block is how many tokens of a prompt one hash stands for; 0 where a format
// has none.
func (f TraceFormat) Block() int {
	switch f {
	case Qwen:
		return 16
	case Mooncake:
		return 512
	}
	return 0
}

// Trace is what real requests looked like, without their texts.
type Trace struct {
	Format   TraceFormat
	Requests []TraceRequest // by time; the first is at 0
	// Skipped are rows left out since nothing was read or generated: requests
	// that had failed.
	Skipped int
}

// TraceRequest is one of them.
type TraceRequest struct {
	At            time.Duration // since the trace began
	Input, Output int           // tokens
	// Blocks name the contents of each Block tokens of the prompt and all
	// before: equal hashes are equal prefixes. The last block may be shorter.
	// Where there are none, prompts share nothing.
	Blocks []uint64
	Block  int
	row    uint64 // in the file, from 0
}

// maxTime bounds times, in seconds: 31 years. maxTokens bounds lengths.
const (
	maxTime   = 1e9
	maxTokens = 10_000_000
)

// errSkip is a row that is no request.
var errSkip = errors.New("no request")

// ReadTrace reads the first limit requests of a trace, which may be gzipped; 0
// means all. An empty format is told from the first line.
func ReadTrace(r io.Reader, format TraceFormat, limit int) (*Trace, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := lines.Peek(2); string(magic) == "\x1f\x8b" {
		plain, err := gzip.NewReader(lines)
		if err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
		lines = bufio.NewReaderSize(plain, 64<<10)
	}
	head, err := lines.Peek(4 << 10)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if bom := "\ufeff"; bytes.HasPrefix(head, []byte(bom)) {
		head = head[len(bom):]
		if _, err := lines.Discard(len(bom)); err != nil {
			return nil, err
		}
	}
	if format == "" {
		if format, err = detectFormat(head); err != nil {
			return nil, err
		}
	}
	t := &Trace{Format: format}
	switch format {
	case Qwen, Mooncake:
		err = t.readJSON(lines, limit)
	case Azure, BurstGPT:
		err = t.readCSV(lines, limit)
	default:
		err = fmt.Errorf("format %q; it must be one of %v", format, TraceFormats)
	}
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if len(t.Requests) == 0 {
		return nil, errors.New("trace: it holds no requests")
	}
	slices.SortStableFunc(t.Requests, func(a, b TraceRequest) int { return cmp.Compare(a.At, b.At) })
	first := t.Requests[0].At
	for i := range t.Requests {
		t.Requests[i].At -= first
	}
	return t, nil
}

// detectFormat tells a format by how its file begins.
func detectFormat(head []byte) (TraceFormat, error) {
	line, _, _ := bytes.Cut(bytes.TrimSpace(head), []byte("\n"))
	if len(line) == 0 {
		return "", errors.New("trace: it is empty")
	}
	has := func(text string) bool { return bytes.Contains(line, []byte(text)) }
	switch {
	case line[0] == '{' && has(`"chat_id"`):
		return Qwen, nil
	case line[0] == '{' && has(`"timestamp"`):
		return Mooncake, nil
	case has("ContextTokens"):
		return Azure, nil
	case has("Request tokens"):
		return BurstGPT, nil
	}
	return "", fmt.Errorf("trace: its first line tells of no format known, which are %v: %.60q", TraceFormats, line)
}

// add appends a request, unless it is none.
func (t *Trace) add(r TraceRequest, err error) error {
	switch {
	case errors.Is(err, errSkip):
		t.Skipped++
	case err != nil:
		return err
	case max(r.Input, r.Output) > maxTokens:
		return fmt.Errorf("%d tokens in, %d out: at most %d can be", r.Input, r.Output, maxTokens)
	default:
		r.row = uint64(len(t.Requests) + t.Skipped)
		t.Requests = append(t.Requests, r)
	}
	return nil
}

func (t *Trace) readJSON(r io.Reader, limit int) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for n := 1; (limit == 0 || len(t.Requests) < limit) && lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if err := t.add(t.Format.parseJSON(lines.Bytes())); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

// parseJSON reads a line of a Qwen or Mooncake trace.
func (f TraceFormat) parseJSON(line []byte) (t TraceRequest, err error) {
	var row struct {
		Timestamp *float64 `json:"timestamp"`
		Input     int      `json:"input_length"`
		Output    int      `json:"output_length"`
		Hashes    []uint64 `json:"hash_ids"`
	}
	if err := json.Unmarshal(line, &row); err != nil {
		if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) && wrong.Field != "" {
			err = fmt.Errorf("its %s is a %s, want %s", wrong.Field, wrong.Value, wantJSON(wrong.Field))
		}
		return t, err
	}
	unit := time.Second
	if f == Mooncake {
		unit = time.Millisecond
	}
	t = TraceRequest{Input: row.Input, Output: row.Output, Blocks: row.Hashes, Block: f.Block()}
	switch full, all := t.Input/t.Block, (t.Input+t.Block-1)/t.Block; {
	case row.Timestamp == nil:
		return t, fmt.Errorf("no timestamp: is this a trace of format %s?", f)
	case t.Input < 0 || t.Output < 0:
		return t, fmt.Errorf("%d tokens in, %d out: neither can be negative", t.Input, t.Output)
	case len(t.Blocks) != all && len(t.Blocks) != full: // a last, shorter block may go without
		return t, fmt.Errorf("%d hashes for %d tokens in, %d a hash: want %d", len(t.Blocks), t.Input, t.Block, all)
	case math.Abs(*row.Timestamp) > maxTime*float64(time.Second)/float64(unit):
		return t, fmt.Errorf("its timestamp is %g, decades from the beginning", *row.Timestamp)
	case t.Input == 0 || t.Output == 0:
		return t, errSkip
	}
	t.At = time.Duration(math.Round(*row.Timestamp * float64(unit)))
	return t, nil
}

// wantJSON is what a field of a line must be.
func wantJSON(field string) string {
	switch field {
	case "timestamp":
		return "a number"
	case "hash_ids":
		return "a list of whole numbers"
	}
	return "a whole number"
}

// columns are where a CSV format keeps what is read of it.
type columns struct{ at, input, output int }

func (t *Trace) readCSV(r io.Reader, limit int) error {
	rows := csv.NewReader(r)
	rows.ReuseRecord = true
	head, err := rows.Read()
	if err != nil {
		return fmt.Errorf("its header: %w", err)
	}
	names := [...]string{"TIMESTAMP", "ContextTokens", "GeneratedTokens"}
	if t.Format == BurstGPT {
		names = [...]string{"Timestamp", "Request tokens", "Response tokens"}
	}
	c := columns{slices.Index(head, names[0]), slices.Index(head, names[1]), slices.Index(head, names[2])}
	if c.at < 0 || c.input < 0 || c.output < 0 {
		return fmt.Errorf("its columns are %q; a trace of format %s has %q", head, t.Format, names)
	}
	for limit == 0 || len(t.Requests) < limit {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err // says where
		}
		if err := t.add(t.Format.parseCSV(row, c)); err != nil {
			line, _ := rows.FieldPos(0)
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
	return nil
}

// parseCSV reads a row of an Azure or BurstGPT trace.
func (f TraceFormat) parseCSV(row []string, c columns) (t TraceRequest, err error) {
	t.Input, err = strconv.Atoi(row[c.input])
	if err == nil {
		t.Output, err = strconv.Atoi(row[c.output])
	}
	if err != nil || t.Input < 0 || t.Output < 0 {
		return t, fmt.Errorf("%q tokens in, %q out: both must be counts", row[c.input], row[c.output])
	}
	if t.At, err = f.parseTime(row[c.at]); err != nil {
		return t, err
	}
	if t.Input == 0 || t.Output == 0 {
		return t, errSkip
	}
	return t, nil
}

// azureEpoch is what Azure's times are taken from, so that they fit into a
// Duration.
var azureEpoch = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)

func (f TraceFormat) parseTime(text string) (time.Duration, error) {
	if f == BurstGPT {
		s, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(s) || math.Abs(s) > maxTime {
			return 0, fmt.Errorf("its time is %q, want seconds", text)
		}
		return time.Duration(math.Round(s * float64(time.Second))), nil
	}
	// Of 2023 without an offset, of 2024 with one; fractions of a second may
	// be absent.
	layout := time.DateTime
	if i := strings.LastIndexAny(text, "+-Z"); i > len(time.DateOnly) {
		layout += "Z07:00"
	}
	at, err := time.Parse(layout, text)
	if err != nil {
		return 0, fmt.Errorf("its time is %q, want one such as 2023-11-16 18:17:03.9799600", text)
	}
	return at.Sub(azureEpoch), nil
}

// Tokens makes up a prompt: each block's tokens follow from its hash, so that
// prompts share exactly the prefixes that the real ones shared. Without hashes
// they follow from the request's row in the file. Prompts of another salt share
// nothing with these.
func (t *TraceRequest) Tokens(vocab int, salt uint64) []int32 {
	tokens := make([]int32, t.Input)
	salt *= 0xD6E8FEB86659FD93
	state := ^t.row ^ salt // far from hashes, which count up from 0
	for i := range tokens {
		if t.Block > 0 && i%t.Block == 0 {
			if state = ^t.row ^ salt; i/t.Block < len(t.Blocks) {
				state = t.Blocks[i/t.Block] ^ salt
			}
		}
		state += 0x9E3779B97F4A7C15 // SplitMix64
		z := (state ^ state>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		tokens[i] = int32((z ^ z>>31) % uint64(vocab))
	}
	return tokens
}

// Replay makes the arrivals of a trace, its times multiplied by scale: 0.5 is
// twice as fast. To play it again to a server that may remember the prompts,
// another salt makes others.
func (t *Trace) Replay(scale float64, vocab int, salt uint64) iter.Seq[Arrival] {
	return func(yield func(Arrival) bool) {
		for i := range t.Requests {
			r := &t.Requests[i]
			if !yield(Arrival{time.Duration(float64(r.At) * scale), Prompt{Tokens: r.Tokens(vocab, salt), MaxTokens: r.Output}}) {
				return
			}
		}
	}
}

// Fit leaves out requests of more than limit tokens, prompt and reply together;
// a limit of 0 is none. The note says how many; it is empty when none are.
func (t *Trace) Fit(limit int) (note string, err error) {
	all := len(t.Requests)
	if limit == 0 {
		return "", nil
	}
	t.Requests = slices.DeleteFunc(t.Requests, func(r TraceRequest) bool { return r.Input+r.Output > limit })
	switch left := all - len(t.Requests); left {
	case 0:
		return "", nil
	case all:
		return "", fmt.Errorf("each of the trace's %d requests is longer than the %d tokens that the model takes", all, limit)
	default:
		first := t.Requests[0].At
		for i := range t.Requests {
			t.Requests[i].At -= first
		}
		return fmt.Sprintf("the model takes %s tokens a request, so %s of the trace's %s are left out", thousands(limit), thousands(left), thousands(all)), nil
	}
}

// Total is how much work the trace is.
func (t *Trace) Total() Progress {
	p := Progress{Requests: len(t.Requests)}
	for i := range t.Requests {
		p.PrefillAll += t.Requests[i].Input
		p.DecodeAll += t.Requests[i].Output - 1
	}
	return p
}
