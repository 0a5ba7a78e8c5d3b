package streams

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// poller is a set of connections, numbered from 0 in the order they were
// opened.
type poller struct {
	epoll  int
	addr   unix.Sockaddr
	family int
	files  []int // by number; -1: closed
	events []unix.EpollEvent
}

func newPoller(a *net.TCPAddr) (*poller, error) {
	p := &poller{family: unix.AF_INET, events: make([]unix.EpollEvent, 1024)}
	if ip := a.IP.To4(); ip != nil {
		p.addr = &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}
	} else {
		p.family = unix.AF_INET6
		p.addr = &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}
	}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return p, nil
}

// open connects once more and returns the connection's number.
func (p *poller) open() (int, error) {
	fd, err := unix.Socket(p.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	n := len(p.files)
	err = errors.Join(unix.Connect(fd, p.addr), unix.SetNonblock(fd, true),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		// Edge-triggered: the kernel looks at each connection once an event.
		unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(n)}))
	if err != nil {
		return 0, errors.Join(fmt.Errorf("connecting: %w", err), unix.Close(fd))
	}
	p.files = append(p.files, fd)
	return n, nil
}

// wait calls on with the number of each connection that can be read since it
// was last read empty, after at most so many milliseconds.
func (p *poller) wait(milliseconds int, on func(n int) error) error {
	n, err := unix.EpollWait(p.epoll, p.events, milliseconds)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("epoll_wait: %w", err)
	}
	for i := range n {
		if err := on(int(p.events[i].Fd)); err != nil {
			return err
		}
	}
	return nil
}

// read reads what is there.
func (p *poller) read(n int, b []byte) (int, error) {
	k, err := unix.Read(p.files[n], b)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	if err == nil && k == 0 {
		err = errors.New("the server closed the connection")
	}
	return max(k, 0), err
}

// write sends a request, which is small enough to go at once.
func (p *poller) write(n int, b []byte) error {
	k, err := unix.Write(p.files[n], b)
	if err == nil && k < len(b) {
		err = fmt.Errorf("only %d of %d bytes of a request could be sent", k, len(b))
	}
	return err
}

// close ends one connection: abruptly with a reset, else as a program does
// that ends.
func (p *poller) close(n int, reset bool) error {
	fd := p.files[n]
	if fd < 0 {
		return nil
	}
	p.files[n] = -1
	var err error
	if reset {
		err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	return errors.Join(err, unix.Close(fd))
}

// closeAll ends the poller.
func (p *poller) closeAll() error {
	var all []error
	for n := range p.files {
		all = append(all, p.close(n, false))
	}
	return errors.Join(append(all, unix.Close(p.epoll))...)
}
