package wire

import "google.golang.org/protobuf/encoding/protowire"

// Frame is what travels between a front and an engine on different hosts: one message of a session.
// A session is a front's use of an engine, which the front begins. In either direction its frames are
// numbered, and who misses one ends it: what was lost with it nobody knows, so the front has
// everything that was open computed again, and begins another session.
type Frame struct {
	Session uint64 // as the front that began it named it, at random
	Seq     uint64 // of this session's frames in this direction, from 1; 0: of none, as a Bye to who is not known

	// One of these.
	Hello   *Hello   // Front → Engine, the first; answered by a Welcome
	Welcome *Welcome // Engine → Front, the first
	Request *Request // Front → Engine
	Cancel  *Ref     // Front → Engine
	Batch   *Batch   // Engine → Front
	Beat    *Beat    // Front → Engine, several a second; answered by a Pulse
	Pulse   *Pulse   // Engine → Front
	Bye     *Bye     // either: the session is over
}

// Hello begins a session.
type Hello struct {
	Identity Identity // the front's
	Sent     int64    // when, as batch.Now at the front; comes back, to set the clocks beside each other
}

// Welcome says that a session has begun, or why not.
type Welcome struct {
	Identity Identity // the engine's
	Info     string   // the device's device.Info as JSON
	Refused  string   // why not; "": it has
	Sent     int64    // the Hello's
	Now      int64    // as batch.Now at the engine
	Version  string   // of its program, to be shown
}

// Beat says that a front is there.
type Beat struct {
	Since uint64 // which changes of the engine's prefix tree it has: the Seq of the last Prefixes
	Sent  int64  // as of a Hello
}

// Pulse says how an engine does.
type Pulse struct {
	State    uint8  // engine.State
	Stats    string // engine.Stats as JSON
	Prefixes Prefixes
	Sent     int64 // the Beat's
	Now      int64 // as of a Welcome
	Others   Load  // what it has of other fronts
}

// Bye ends a session.
type Bye struct {
	Why string
}

// Encode is the frame in bytes.
func (f *Frame) Encode() []byte {
	room := 128
	switch {
	case f.Batch != nil:
		room += f.Batch.room()
	case f.Request != nil:
		room += f.Request.room()
	}
	return encode(make([]byte, 0, room), f, frameFields)
}

// DecodeFrame reads a frame.
func DecodeFrame(b []byte) (*Frame, error) {
	f := new(Frame)
	return f, decode(b, f, frameFields, 0)
}

func frameFields(c *codec, f *Frame) {
	number(c, 1, &f.Session)
	number(c, 2, &f.Seq)
	optional(c, 3, &f.Hello, helloFields)
	optional(c, 4, &f.Welcome, welcomeFields)
	optional(c, 5, &f.Request, requestFields)
	optional(c, 6, &f.Cancel, refFields)
	if c.reading && c.at(7, protowire.BytesType) {
		f.Batch, c.err = decodeBatch(c.bytes, c.depth+1)
	} else if !c.reading {
		optional(c, 7, &f.Batch, batchFields)
	}
	optional(c, 8, &f.Beat, beatFields)
	optional(c, 9, &f.Pulse, pulseFields)
	optional(c, 10, &f.Bye, byeFields)
}

func helloFields(c *codec, h *Hello) {
	message(c, 1, &h.Identity, identityFields)
	number(c, 2, &h.Sent)
}

func welcomeFields(c *codec, w *Welcome) {
	message(c, 1, &w.Identity, identityFields)
	c.text(2, &w.Info)
	c.text(3, &w.Refused)
	number(c, 4, &w.Sent)
	number(c, 5, &w.Now)
	c.text(6, &w.Version)
}

func beatFields(c *codec, b *Beat) {
	number(c, 1, &b.Since)
	number(c, 2, &b.Sent)
}

func pulseFields(c *codec, p *Pulse) {
	number(c, 1, &p.State)
	c.text(2, &p.Stats)
	message(c, 3, &p.Prefixes, prefixesFields)
	number(c, 4, &p.Sent)
	number(c, 5, &p.Now)
	message(c, 6, &p.Others, loadFields)
}

func byeFields(c *codec, b *Bye) { c.text(1, &b.Why) }
