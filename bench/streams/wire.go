package streams

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// wire reads one connection: HTTP/1.1 responses with chunked bodies of
// server-sent events. It is fed bytes as they come and hands on whole events.
// Nothing waits.
type wire struct {
	state state
	left  int    // bytes of the chunk still to come
	line  []byte // a line of HTTP that has not ended
	body  []byte // of an event that has not ended; of a failure, the status
	ok    bool   // the status is 200
}

type state uint8

const (
	inStatus state = iota
	inHeader
	inSize // the line before a chunk
	inChunk
	afterChunk // the line end behind it
	inTrailer
	inFailure // what came with another status than 200
)

// feed takes the next bytes. on is called with each event's data, which is
// borrowed; over is reported when a response has ended.
func (w *wire) feed(b []byte, on func(data []byte) error) (over bool, err error) {
	for len(b) > 0 {
		if w.state == inChunk {
			n := min(w.left, len(b))
			if err := w.chunk(b[:n], on); err != nil {
				return over, err
			}
			b = b[n:]
			if w.left -= n; w.left == 0 {
				w.state = afterChunk
			}
			continue
		}
		if w.state == inFailure {
			return false, fmt.Errorf("the server answered %s: %.300s", w.body, b)
		}
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			w.line = append(w.line, b...)
			return over, nil
		}
		line := b[:end]
		if len(w.line) > 0 {
			line = append(w.line, line...)
		}
		b = b[end+1:]
		ended, err := w.http(bytes.TrimSuffix(line, []byte("\r")))
		if err != nil {
			return over, err
		}
		w.line = w.line[:0]
		over = over || ended
	}
	return over, nil
}

// http takes one line of what is around the events.
func (w *wire) http(line []byte) (over bool, err error) {
	switch w.state {
	case inStatus:
		w.state, w.ok = inHeader, bytes.HasPrefix(line, []byte("HTTP/1.1 200"))
		if !w.ok {
			w.body = append(w.body[:0], line...)
		}
	case inHeader:
		switch {
		case len(line) > 0:
		case w.ok:
			w.state = inSize
		default:
			w.state = inFailure
		}
	case inSize:
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return false, fmt.Errorf("a chunk's size is %.20q", line)
		}
		if w.left, w.state = int(n), inChunk; n == 0 {
			w.state = inTrailer
		}
	case afterChunk:
		if len(line) > 0 {
			return false, fmt.Errorf("a chunk goes on with %.20q", line)
		}
		w.state = inSize
	case inTrailer:
		if len(line) > 0 {
			return false, fmt.Errorf("after the last chunk came %.20q", line)
		}
		if len(w.body) > 0 {
			return false, fmt.Errorf("the stream ended within an event: %.80q", w.body)
		}
		w.state = inStatus
		return true, nil
	}
	return false, nil
}

var errNoEvent = errors.New("the stream holds something that is no event")

// chunk takes a part of the events.
func (w *wire) chunk(b []byte, on func(data []byte) error) error {
	if len(w.body) > 0 {
		w.body = append(w.body, b...)
		b = w.body
	}
	for {
		end := bytes.Index(b, []byte("\n\n"))
		if end < 0 {
			break
		}
		event := b[:end]
		b = b[end+2:]
		data, is := bytes.CutPrefix(event, []byte("data: "))
		switch {
		case is:
			if err := on(data); err != nil {
				return err
			}
		case len(event) == 0 || event[0] != ':':
			return fmt.Errorf("%w: %.80q", errNoEvent, event)
		}
	}
	w.body = append(w.body[:0], b...)
	return nil
}
