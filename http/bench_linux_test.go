package http

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// BenchmarkBareWrite is the yardstick of streaming: what the kernel takes to
// write a token's bytes to each of many connections over loopback, one after
// the other, with nothing of ours around it. Loopback makes the writer do the
// receiver's half of TCP, too.
func BenchmarkBareWrite(b *testing.B) {
	for _, n := range []int{1, 64, 2000} {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) { benchmarkWrites(b, n) })
	}
}

func benchmarkWrites(b *testing.B, n int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	var from, to []net.Conn
	for range n {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		s, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		from, to = append(from, s), append(to, c)
	}
	event, room := make([]byte, 330), make([]byte, 1024)
	var spent time.Duration
	for b.Loop() {
		before := processTime(b)
		for _, c := range from {
			if _, err := c.Write(event); err != nil {
				b.Fatal(err)
			}
		}
		spent += processTime(b) - before
		for _, c := range to {
			if _, err := c.Read(room); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*n)/1e3, "cpu-µs/write")
}

// processTime is the processor time of this process, in the kernel and outside.
func processTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
