package hub

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// fetch brings one file into place, unless it is there already. Bytes arrive
// under another name, and take the file's only when they are complete and right.
func (p *puller) fetch(ctx context.Context, f File) error {
	release, err := p.store.hold(ctx, f)
	if err != nil {
		return err
	}
	defer release()
	name, part := p.store.paths(f)
	if ok, err := p.present(ctx, f, name); err != nil {
		return err
	} else if ok {
		return p.store.placed(f)
	}
	resumed, err := p.download(ctx, f, part)
	if errors.Is(err, errMismatch) && resumed { // what an earlier run left may have been damaged: once more, from nothing
		_, err = p.download(ctx, f, part)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(part, name); err != nil {
		return err
	}
	return p.store.placed(f)
}

// present reports whether the file is in place and right.
func (p *puller) present(ctx context.Context, f File, name string) (bool, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() != f.Size) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	file, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	d := newDownload(p, f, file)
	if err := d.readExisting(ctx); err != nil {
		return false, err
	}
	if d.check() != nil {
		p.progress(-d.have)
		return false, nil
	}
	return true, nil
}

// download fills part, from where it ends, and checks it. resumed tells
// whether part held something before. A part with the wrong hash is removed.
func (p *puller) download(ctx context.Context, f File, part string) (resumed bool, err error) {
	file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return false, err
	}
	defer file.Close()
	d := newDownload(p, f, file)
	if err := d.readExisting(ctx); err != nil {
		return false, err
	}
	resumed = d.have > 0
	if d.have > f.Size {
		if err := d.restart(); err != nil {
			return resumed, err
		}
	}
	if d.have < f.Size {
		err = p.retry(ctx, func(progress *bool) error {
			before := d.have
			defer func() { *progress = d.have > before }()
			return d.get(ctx)
		})
		if err != nil {
			return resumed, err
		}
	}
	if err := d.check(); err != nil {
		p.progress(-d.have)
		return resumed, errors.Join(err, os.Remove(part))
	}
	return resumed, file.Sync()
}

// download is a file on its way.
//
// Invariant: sum has hashed the file's first have bytes, and the file's
// position is have.
type download struct {
	p    *puller
	want File
	file *os.File
	sum  hash.Hash
	have int64
}

func newDownload(p *puller, f File, file *os.File) *download {
	sum, _ := f.hasher()
	return &download{p: p, want: f, file: file, sum: sum}
}

// readExisting takes in what the file holds.
func (d *download) readExisting(ctx context.Context) error {
	_, err := io.Copy(writerFunc(d.take), readerFunc(func(b []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return d.file.Read(b)
	}))
	return err
}

// take accounts for bytes that are in the file.
func (d *download) take(b []byte) (int, error) {
	d.sum.Write(b)
	d.have += int64(len(b))
	d.p.progress(int64(len(b)))
	return len(b), nil
}

// restart drops everything.
func (d *download) restart() error {
	d.p.progress(-d.have)
	d.sum, _ = d.want.hasher()
	d.have = 0
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	_, err := d.file.Seek(0, io.SeekStart)
	return err
}

// get asks once for what is missing.
func (d *download) get(ctx context.Context) error {
	a, err := d.p.get(ctx, d.p.place(d.want), d.have)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := d.accept(a); err != nil {
		return err
	}
	missing := d.want.Size - d.have
	_, err = io.Copy(writerFunc(d.write), io.LimitReader(a, missing))
	switch {
	case err != nil:
		return err
	case d.have < d.want.Size:
		return fmt.Errorf("the connection ended at byte %d of %d", d.have, d.want.Size)
	}
	return nil
}

// accept checks that the answer is the part asked for.
func (d *download) accept(a *answer) error {
	switch a.response.StatusCode {
	case http.StatusOK: // the whole file: ranges are not served
		if n := a.response.ContentLength; n >= 0 && n != d.want.Size {
			return permanent{fmt.Errorf("%s sends %d bytes, want %d", d.p.source, n, d.want.Size)}
		}
		if d.have > 0 {
			return d.restart()
		}
		return nil
	case http.StatusPartialContent:
		want := fmt.Sprintf("bytes %d-%d/%d", d.have, d.want.Size-1, d.want.Size)
		if got := a.response.Header.Get("Content-Range"); got != want {
			return permanent{fmt.Errorf("%s sends range %q, want %q", d.p.source, got, want)}
		}
		return nil
	default:
		return permanent{fmt.Errorf("%s answers %s", d.p.source, a.response.Status)}
	}
}

// write adds bytes that came over the network.
func (d *download) write(b []byte) (int, error) {
	if n, err := d.file.Write(b); err != nil {
		return n, permanent{err} // a full disk does not get better by asking again
	}
	d.p.mu.Lock()
	d.p.fetched += int64(len(b))
	d.p.mu.Unlock()
	return d.take(b)
}

var errMismatch = errors.New("wrong content")

// check compares size and hash with the listing's.
func (d *download) check() error {
	_, want := d.want.hasher()
	if got := hex.EncodeToString(d.sum.Sum(nil)); d.have != d.want.Size || !strings.EqualFold(got, want) {
		return fmt.Errorf("%w: %d bytes with hash %s from %s, want %d with %s", errMismatch, d.have, got, d.p.source, d.want.Size, want)
	}
	return nil
}

// answer is a response whose body is read through it. A connection silent for
// longer than stall fails.
type answer struct {
	response *http.Response
	ctx      context.Context // the request's
	cancel   context.CancelCauseFunc
	watch    *time.Timer
	stall    time.Duration
}

// get asks the hub for path, from byte start on. Failures by status are errors.
func (p *puller) get(ctx context.Context, path string, start int64) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(p.stall, func() { cancel(fmt.Errorf("no answer for %v", p.stall)) })
	a := &answer{ctx: ctx, cancel: cancel, watch: watch, stall: p.stall}
	request, err := p.request(ctx, path, start)
	if err == nil {
		a.response, err = p.Client.Do(request) //nolint:bodyclose // answer.Close does
	}
	if err == nil {
		err = p.status(a.response)
	}
	if err != nil {
		err = causeOr(ctx, err)
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (p *puller) request(ctx context.Context, path string, start int64) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Endpoint+path, nil)
	if err != nil {
		return nil, permanent{err}
	}
	request.Header.Set("User-Agent", "troupe")
	request.Header.Set("Accept-Encoding", "identity") // sizes are those of the files
	if start > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", start))
	}
	if p.Token != "" {
		request.Header.Set("Authorization", "Bearer "+p.Token) // guarded keeps it here
	}
	return request, nil
}

func (a *answer) Read(b []byte) (int, error) {
	n, err := a.response.Body.Read(b)
	a.watch.Reset(a.stall)
	if err != nil && !errors.Is(err, io.EOF) {
		err = causeOr(a.ctx, err)
	}
	return n, err
}

func (a *answer) Close() error {
	a.watch.Stop()
	a.cancel(nil)
	if a.response == nil {
		return nil
	}
	return a.response.Body.Close()
}

// causeOr says why ctx ended rather than that it did.
func causeOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// status turns an HTTP failure into an error: permanent, or worth another
// attempt.
func (p *puller) status(response *http.Response) error {
	switch code := response.StatusCode; {
	case code < 400:
		return nil
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		hint := "give a token (HF_TOKEN)"
		if p.Token != "" {
			hint = "accept its terms on the hub, or use a token with access"
		}
		return permanent{notFound{fmt.Errorf("%s answers %s: the repository does not exist, or is gated or private: %s", p.source, response.Status, hint)}}
	case code == http.StatusNotFound && p.Repo == "":
		return permanent{fmt.Errorf("%s answers %s: no such file", p.source, response.Status)}
	case code == http.StatusNotFound:
		return permanent{notFound{fmt.Errorf("%s answers %s: no such repository, revision (%s) or file", p.source, response.Status, p.Revision)}}
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return &busy{fmt.Errorf("%s answers %s", p.source, response.Status), time.Duration(seconds) * time.Second}
	default:
		return permanent{fmt.Errorf("%s answers %s", p.source, response.Status)}
	}
}

// ErrNotFound is wrapped by errors of a hub that shows no such repository or
// revision to who asks.
var ErrNotFound = errors.New("not on the hub")

type notFound struct{ error }

func (e notFound) Is(target error) bool { return target == ErrNotFound }

// permanent marks errors that another attempt would meet again.
type permanent struct{ error }

func (e permanent) Unwrap() error { return e.error }

// busy asks to come back later.
type busy struct {
	error
	after time.Duration
}

// attempts without a byte of progress before retry gives up, and the longest
// pause between two.
const (
	attempts = 6
	maxPause = time.Minute
)

// retry calls try until it succeeds, fails for good, or fails too often
// without progress. Pauses double from one second, or are as the hub asks.
func (p *puller) retry(ctx context.Context, try func(progress *bool) error) error {
	for failed := 0; ; {
		progress := false
		err := try(&progress)
		var final permanent
		var name *net.DNSError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &final):
			return final.error
		case errors.As(err, &name) && name.IsNotFound: // asking again will not make one
			return err
		}
		if progress {
			failed = 0
		}
		if failed++; failed >= p.tries {
			if failed == 1 {
				return err
			}
			return fmt.Errorf("%w (after %d attempts)", err, failed)
		}
		pause := time.Second << (failed - 1)
		var later *busy
		if errors.As(err, &later) {
			pause = max(pause, later.after)
		}
		pause = min(pause, maxPause)
		if p.Retrying != nil {
			p.mu.Lock()
			p.Retrying(err, pause)
			p.mu.Unlock()
		}
		if err := p.wait(ctx, pause); err != nil {
			return err
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
