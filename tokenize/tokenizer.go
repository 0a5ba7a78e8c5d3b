package tokenize

import (
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"unicode/utf8"
)

// Tokenizer turns text into ids and ids into text. It is immutable: any number
// of goroutines may use it at once.
type Tokenizer struct {
	vocab  *vocab
	added  *added
	norm   normalizer
	steps  []step
	scans  []scanStep // the steps, if each isolates what a scanner finds
	model  *bpe
	post   post
	stages []newStage
	config config
	chat   *ChatTemplates
	floor  floor
	idle   chan *scratch // as many as can be busy at once
}

// scratch is what one Encode needs besides its result.
type scratch struct {
	words        wordCache // first, so that its sets are cache lines
	pieces, next []piece
	matches      []int
	symbols      []symbol
	queue        []candidate
	spell        []byte
	walk         walkMemory
	batch        [32]word
	count        int // words in batch
}

// Load reads tokenizer.json and, where present, the files beside it that hold
// special tokens and chat templates. A component it cannot run, and one that would
// take more than its share of time or memory, is an error that names it. Which files
// may be opened at all is for fsys to say.
func Load(fsys fs.FS) (*Tokenizer, error) {
	b, err := fs.ReadFile(fsys, "tokenizer.json")
	if err != nil {
		return nil, err
	}
	c, err := readConfig(fsys)
	if err != nil {
		return nil, err
	}
	t, err := parse(b, c)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	if t.chat, err = LoadChat(fsys); err != nil {
		return nil, err
	}
	if t.config.cleanUp {
		t.stages = append(t.stages, cleanUp...)
	}
	t.readChat()
	return t, nil
}

func parse(b []byte, c config) (*Tokenizer, error) {
	f, err := parseFile(b)
	if err != nil {
		return nil, err
	}
	if err := f.model.check(); err != nil {
		return nil, err
	}
	if err := f.bounded(); err != nil {
		return nil, err
	}
	t := &Tokenizer{config: c, idle: make(chan *scratch, runtime.GOMAXPROCS(0))}
	if t.norm, err = newNormalizer(f.normalizer); err != nil {
		return nil, err
	}
	var byteLevel bool
	if t.steps, byteLevel, err = newSteps(f.pre); err != nil {
		return nil, err
	}
	if t.model, err = newBPE(&f.model, byteLevel); err != nil {
		return nil, err
	}
	t.vocab = t.model.vocab
	if t.added, err = newAdded(c.complete(f.added, t.vocab), t.vocab, t.norm); err != nil {
		return nil, err
	}
	if t.post, err = newPost(f.post); err != nil {
		return nil, err
	}
	if err := t.post.check(t.vocab); err != nil {
		return nil, err
	}
	t.stages, err = newStages(f.decoder)
	t.scans = allScanners(t.steps)
	if err == nil {
		t.floor = newFloor(t, f)
	}
	return t, err
}

// scanStep is a step that isolates what a scanner finds.
type scanStep struct {
	scan   scanner
	starts *[256]bool // bytes that a match may start with; nil: any
}

// allScanners returns the steps' scanners, or nil if they are not that simple.
func allScanners(steps []step) (all []scanStep) {
	for _, step := range steps {
		x, ok := step.(*split)
		if !ok || x.how != isolated {
			return nil
		}
		f, ok := x.m.(scanner)
		if !ok {
			return nil
		}
		all = append(all, scanStep{f, x.starts})
	}
	return all
}

// Encode returns the ids of text. Added tokens written in the text become
// their ids. addSpecial puts around them what the post-processor says, such
// as a beginning-of-text token.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int32 {
	return t.AppendEncode(nil, text, addSpecial)
}

// AppendEncode appends the ids of text to dst. What lies in dst beyond its
// length may be overwritten.
func (t *Tokenizer) AppendEncode(dst []int32, text string, addSpecial bool) []int32 {
	if !utf8.ValidString(text) {
		text = string(appendLossy(nil, []byte(text)))
	}
	s := t.borrow()
	defer t.giveBack(s)
	s.count = 0
	if addSpecial {
		dst = append(dst, t.post.before...)
	}
	token := func(id int32) { dst = append(dst, id) }
	t.added.cut(&t.added.raw, text, func(text string, at int) {
		if t.norm != nil {
			text = t.norm(text)
		}
		t.added.cut(&t.added.normal, text, func(text string, at2 int) {
			dst = t.appendText(dst, piece{text, at == 0 && at2 == 0}, s)
		}, token)
	}, token)
	if addSpecial {
		dst = append(dst, t.post.after...)
	}
	return dst
}

// borrow takes an idle scratch or makes one. It is no sync.Pool, which the
// collector empties: what a scratch remembers is worth keeping.
func (t *Tokenizer) borrow() *scratch {
	select {
	case s := <-t.idle:
		return s
	default:
		return new(scratch)
	}
}

func (t *Tokenizer) giveBack(s *scratch) {
	s.trim()
	select {
	case t.idle <- s:
	default:
	}
}

// trim lets go of the text, and of what only a long one needs.
func (s *scratch) trim() {
	const most = 1 << 16
	if max(cap(s.pieces), cap(s.next), cap(s.matches), cap(s.symbols), cap(s.queue), cap(s.spell)) > most {
		s.pieces, s.next, s.matches, s.symbols, s.queue, s.spell = nil, nil, nil, nil, nil, nil
	}
	clear(s.pieces[:cap(s.pieces)])
	clear(s.next[:cap(s.next)])
}

// appendText encodes a stretch of normalized text without added tokens.
func (t *Tokenizer) appendText(dst []int32, p piece, s *scratch) []int32 {
	if t.scans != nil {
		dst = t.appendScanned(dst, p.text, 0, len(p.text), 0, s)
		return t.appendBatch(dst, p.text, s)
	}
	s.pieces = append(s.pieces[:0], p)
	for _, step := range t.steps {
		s.next = s.next[:0]
		for _, p := range s.pieces {
			s.next = step.apply(p, s.next, s)
		}
		s.pieces, s.next = s.next, s.pieces
	}
	for _, p := range s.pieces {
		if p.text != "" {
			s.push(0, len(p.text))
			dst = t.appendBatch(dst, p.text, s)
		}
	}
	return dst
}

// appendScanned cuts text[lo:hi] by the scanners from level on, without a list
// of pieces. The last pieces stay in the batch.
func (t *Tokenizer) appendScanned(dst []int32, text string, lo, hi, level int, s *scratch) []int32 {
	scan, starts := t.scans[level].scan, t.scans[level].starts
	last := level == len(t.scans)-1
	within := text[:hi]
	gap := lo // what no match has covered yet starts here
	for i := lo; i < hi; {
		if starts != nil && !starts[within[i]] {
			i++
			continue
		}
		end := scan(within, i)
		if end == i {
			_, size := classAt(within, i)
			i += size
			continue
		}
		if last {
			if s.count+2 > len(s.batch) {
				dst = t.appendBatch(dst, text, s)
			}
			if gap < i {
				s.push(gap, i)
			}
			s.push(i, end)
		} else {
			if gap < i {
				dst = t.appendScanned(dst, text, gap, i, level+1, s)
			}
			dst = t.appendScanned(dst, text, i, end, level+1, s)
		}
		i, gap = end, end
	}
	switch {
	case gap == hi:
	case last:
		if s.count == len(s.batch) {
			dst = t.appendBatch(dst, text, s)
		}
		s.push(gap, hi)
	default:
		dst = t.appendScanned(dst, text, gap, hi, level+1, s)
	}
	return dst
}

func (s *scratch) push(start, end int) {
	s.batch[s.count].start, s.batch[s.count].end = start, end
	s.count++
}

// appendBatch encodes the pieces in the batch.
func (t *Tokenizer) appendBatch(dst []int32, text string, s *scratch) []int32 {
	dst = t.model.appendWords(dst, text, s.batch[:s.count], s)
	s.count = 0
	return dst
}

// Vocab is one more than the largest id.
func (t *Tokenizer) Vocab() int { return t.vocab.len() }

// TokenID returns the id of a token as the vocabulary spells it.
func (t *Tokenizer) TokenID(token string) (int32, bool) { return t.vocab.lookup([]byte(token)) }

// Token returns a token as the vocabulary spells it, "" for no such id.
func (t *Tokenizer) Token(id int32) string { return string(t.vocab.bytes(id)) }

// TokenBytes returns the bytes that a token adds to the middle of a text,
// before any repair of invalid UTF-8; nil for no such id.
func (t *Tokenizer) TokenBytes(id int32) []byte {
	s := t.vocab.bytes(id)
	if s == nil {
		return nil
	}
	if t.model.byteLevel {
		if b, ok := unspell(nil, s); ok {
			return b
		}
		return append([]byte(nil), s...)
	}
	if b, ok := byteToken(s); ok && t.model.hasFallback {
		return []byte{b}
	}
	if t.added.byID[id].Content != "" {
		return append([]byte(nil), s...)
	}
	return []byte(strings.ReplaceAll(string(s), "▁", " "))
}

// IsSpecial reports whether skipSpecial leaves the token out of decoded text.
func (t *Tokenizer) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(t.added.special) && t.added.special[id]
}

// BOS returns the beginning-of-text token that tokenizer_config.json names.
func (t *Tokenizer) BOS() (token string, id int32, ok bool) { return t.named(t.config.bos) }

// EOS returns the end-of-text token that tokenizer_config.json names.
func (t *Tokenizer) EOS() (token string, id int32, ok bool) { return t.named(t.config.eos) }

func (t *Tokenizer) named(token string) (string, int32, bool) {
	if token == "" {
		return "", -1, false
	}
	id, ok := t.TokenID(token)
	return token, id, ok
}
