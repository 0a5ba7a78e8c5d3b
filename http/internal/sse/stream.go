package sse

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

// Source is what a stream writes. Its methods are called by one goroutine at a
// time: the connection's, or a writer whose turn it is.
type Source interface {
	// Append appends what there is to say now, about MaxWrite bytes at most, and
	// reports whether it was the last. It is told the time, as batch.Now; 0 is not
	// known.
	Append(dst []byte, now int64) (out []byte, over bool)
	// Written says that what was appended has been written. It signs receipts, and
	// returns when it was; 0 when nobody wanted to know.
	Written(signed *actors.Receipts) (now int64)
}

// MaxWrite is how many bytes are collected before they are written, when
// events come faster than the client reads.
const MaxWrite = 16 << 10

// Stream is an answer as server-sent events on its way to a connection: one write
// is what has happened by now. It belongs to the connection's goroutine, or to
// the writer whose turn it is.
type Stream struct {
	conn    net.Conn
	source  Source
	chunked bool          // each write is a chunk of HTTP/1.1
	stall   time.Duration // that a client may read nothing

	buf     []byte    // what is to be written; its memory is used again
	sent    int       // buf[:sent] has been
	over    bool      // nothing more will be appended
	stalled time.Time // when the connection's write deadline is

	writers *Writers
	raw     rawWriter // nil: the connection is no socket, and no writer's
	state   atomic.Int32
	// back has a value when it is the connection's goroutine's turn: as it is to
	// write the rest or to end, or, of a stream that is no writer's, was woken.
	back chan struct{}
}

// Stream is one of source's, to conn. In HTTP/1.1 its writes are framed as chunks,
// but for the empty one at the end. A client has stall to read on.
func (w *Writers) Stream(conn net.Conn, source Source, chunked bool, stall time.Duration) *Stream {
	return &Stream{
		conn: conn, source: source, chunked: chunked, stall: stall,
		writers: w, raw: newRawWriter(conn), back: make(chan struct{}, 1),
	}
}

// Run writes what there is to say whenever the stream is woken, to the end. The
// connection's goroutine calls it.
func (s *Stream) Run() error {
	if s.raw != nil {
		return s.share()
	}
	for !s.over {
		switch {
		case s.compose(0):
			if err := s.write(); err != nil {
				return err
			}
		case !s.over:
			<-s.back
		}
	}
	return nil
}

// Whole reports whether all of the stream was written, to its end.
func (s *Stream) Whole() bool { return s.over && s.sent == len(s.buf) }

// compose makes buf what there is to say, and reports whether that is
// anything. now is the time, as batch.Now; 0 when that is not known.
func (s *Stream) compose(now int64) bool {
	s.buf, s.sent = s.buf[:0], 0
	if s.chunked {
		s.buf = append(s.buf, sizeLine...)
	}
	empty := len(s.buf)
	if s.buf, s.over = s.source.Append(s.buf, now); len(s.buf) == empty {
		s.buf = s.buf[:0]
		return false
	}
	if s.chunked {
		s.frame()
	}
	s.extendDeadline()
	return true
}

// write writes what is left of buf, however long that takes.
func (s *Stream) write() error {
	n, err := s.conn.Write(s.buf[s.sent:])
	s.sent += n
	if err == nil {
		var signed actors.Receipts
		s.source.Written(&signed)
		signed.HandIn()
	}
	return err
}

// sizeLine begins a chunk; frame puts the size in, leading zeros and all.
const sizeLine = "00000000\r\n"

// frame makes buf, which begins with sizeLine, a chunk.
func (s *Stream) frame() {
	n := len(s.buf) - len(sizeLine)
	for i := len(sizeLine) - 3; n > 0; i-- {
		s.buf[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
	s.buf = append(s.buf, "\r\n"...)
}

// extendDeadline gives the client stall from about now to read on.
func (s *Stream) extendDeadline() {
	now := time.Now()
	if s.stalled.Sub(now) < s.stall/2 {
		s.stalled = now.Add(s.stall)
		_ = s.conn.SetWriteDeadline(s.stalled) // a closed connection will say so itself
	}
}
