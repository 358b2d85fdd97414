package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-once", "-max", "10", "-name", "x", "-force"})
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"server", "-force"},
		{"server", "-name", "../x"},
		{"server", "-name", "a/b"},
		{"server", "-name", ".."},
		{"server", "-name", "."},
		{"server", "-name", ".sendfile-x.part"},
		{"server", "-max", "4294967296"},
		{"server", "-max", "-1"},
		{"client", "-port", "9"},
		{"client", "-port", "9", "a", "b"},
		{"client", "-port", "0", "main.go"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q: %s", args, got.Stderr)
		require.Empty(t, got.Stdout)
	}
	got := clitest.Run(t, "", "server", "-port", "0", "-dir", "no-such-folder")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "no-such-folder")
}

// content makes size bytes, the same ones each time, that no mistake would.
func content(size int) []byte {
	b := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(size)})
	source.Read(b)
	return b
}

// writeFile makes a file to send.
func writeFile(t *testing.T, content []byte) (name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "original")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	return name
}

// inside lists a folder.
func inside(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func requireContent(t *testing.T, want []byte, dir, name string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "%d bytes stored of %d", len(got), len(want))
}

func TestTransfer(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			if ln, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
				t.Skipf("this machine has no %s: %v", host, err)
			} else {
				ln.Close()
			}
			dir := t.TempDir()
			srv := clitest.Start(t, "server", "-host", host, "-port", "0", "-dir", dir)
			for i, size := range []int{0, 1, 4095, 4096, chunk, chunk + 1, 3_000_003} {
				want := content(size)
				got := clitest.Run(t, "", "client", "-host", host, "-port", srv.Port(), writeFile(t, want))
				require.Zero(t, got.Status, got.Stderr)
				require.Equal(t, fmt.Sprintf("sent original: %d bytes, SHA-256 %x\n%s answers \"Gracias\"\n", size, sha256.Sum256(want), srv.Addr), got.Stdout)
				require.Empty(t, got.Stderr, "no progress bar where there is no terminal")
				name := fmt.Sprintf("received-%d", i+1)
				srv.Stdout.WaitFor(t, fmt.Sprintf(": %d bytes, SHA-256 %x; stored as %s\n", size, sha256.Sum256(want), name))
				requireContent(t, want, dir, name)
			}
			require.Len(t, inside(t, dir), 7)
		})
	}
}

func TestProgressBar(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-dir", t.TempDir())
	got := clitest.Run(t, "", "client", "-progress", "-port", srv.Port(), writeFile(t, content(500_000)))
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stderr, "original")
	require.Contains(t, got.Stderr, "100%")
	require.True(t, strings.HasSuffix(got.Stderr, "\n"))
	got = clitest.Run(t, "", "client", "-progress", "-port", srv.Port(), writeFile(t, nil))
	require.Zero(t, got.Status, got.Stderr)
	require.Empty(t, got.Stderr, "of nothing there is no progress")
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(file("received-1"), []byte("old"), 0o600))
	require.NoError(t, os.WriteFile(file("fixed"), []byte("old"), 0o600))
	original := writeFile(t, []byte("new"))

	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	require.Zero(t, clitest.Run(t, "", "client", "-port", srv.Port(), original).Status)
	require.Zero(t, clitest.Run(t, "", "client", "-port", srv.Port(), original).Status)
	require.Equal(t, []string{"fixed", "received-1", "received-2", "received-3"}, inside(t, dir))
	requireContent(t, []byte("old"), dir, "received-1")
	requireContent(t, []byte("new"), dir, "received-3")

	srv = clitest.Start(t, "server", "-port", "0", "-dir", dir, "-name", "fixed")
	got := clitest.Run(t, "", "client", "-port", srv.Port(), original)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, `refuses the file: "error: the receiver has a file \"fixed\" already, and may not replace it"`)
	requireContent(t, []byte("old"), dir, "fixed")

	srv = clitest.Start(t, "server", "-port", "0", "-dir", dir, "-name", "fixed", "-force", "-once")
	require.Zero(t, clitest.Run(t, "", "client", "-port", srv.Port(), original).Status)
	require.Zero(t, srv.Wait(), "-once")
	requireContent(t, []byte("new"), dir, "fixed")
	require.Len(t, inside(t, dir), 4)
}

func TestNameTakenMeanwhile(t *testing.T) {
	dir := t.TempDir()
	f, err := openFolder(dir, "fixed", false)
	require.NoError(t, err)
	defer f.close()
	p, err := f.create()
	require.NoError(t, err)
	_, err = p.Write([]byte("late"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "fixed"), []byte("early"), 0o600))
	_, err = p.keep()
	require.ErrorContains(t, err, "already")
	p.discard()
	requireContent(t, []byte("early"), dir, "fixed")
	require.Equal(t, []string{"fixed"}, inside(t, dir))

	// The same on a file system without links.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "part"), []byte("late"), 0o600))
	require.ErrorIs(t, f.moveWithoutLink("part", "fixed"), os.ErrExist)
	require.NoError(t, f.moveWithoutLink("part", "other"))
	requireContent(t, []byte("late"), dir, "other")
	require.Equal(t, []string{"fixed", "other"}, inside(t, dir))
}

func TestManySenders(t *testing.T) {
	const many = 8
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-clients", "4")
	var clients []*clitest.Process
	sums := map[string]bool{}
	for i := range many {
		data := content(200_000 + i)
		sums[fmt.Sprintf("%x", sha256.Sum256(data))] = true
		clients = append(clients, clitest.StartClient(t, "", "client", "-port", srv.Port(), writeFile(t, data)))
	}
	for _, c := range clients {
		require.Zero(t, c.Wait())
	}
	names := inside(t, dir)
	require.Len(t, names, many)
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		delete(sums, fmt.Sprintf("%x", sha256.Sum256(data)))
	}
	require.Empty(t, sums, "each of the files is there")
}

// sparse makes a file of zeros that takes no room on the disk.
func sparse(t *testing.T, size int64) (name string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows gives a long file all its room at once")
	}
	name = writeFile(t, nil)
	require.NoError(t, os.Truncate(name, size))
	return name
}

func TestLengthInFourBytes(t *testing.T) {
	name := sparse(t, maxLength+1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	got := clitest.Run(t, "", "client", "-port", port, name)
	require.Equal(t, 1, got.Status)
	require.Equal(t, "sendfile: "+name+" is too long: its 4294967296 bytes are more than the 4294967295 whose number fits in 4 bytes\n", got.Stderr)
	require.NoError(t, ln.(*net.TCPListener).SetDeadline(time.Unix(1, 0)))
	_, err = ln.Accept()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing was sent, not even a SYN")

	require.NoError(t, os.Truncate(name, maxLength))
	file, size, err := open(name)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.Equal(t, int64(maxLength), size)
}

func TestFilesThatCannotBeSent(t *testing.T) {
	for name, says := range map[string]string{
		t.TempDir():    "is no regular file: its length must be known",
		"no-such-file": "no-such-file",
	} {
		got := clitest.Run(t, "", "client", "-port", "9", name)
		require.Equal(t, 1, got.Status)
		require.Contains(t, got.Stderr, says)
	}
}

func TestTooLongForTheReceiver(t *testing.T) {
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-max", "1000")
	// Much longer than all buffers: the refusal must reach a sender that is
	// still busy sending.
	got := clitest.Run(t, "", "client", "-port", srv.Port(), sparse(t, 3<<30))
	require.Equal(t, 1, got.Status)
	require.Equal(t, "sendfile: "+srv.Addr+" refuses the file: \"error: 3221225472 bytes are more than the 1000 that are taken here\"\n", got.Stderr)
	require.Zero(t, clitest.Run(t, "", "client", "-port", srv.Port(), writeFile(t, content(1000))).Status)
	got = clitest.Run(t, "", "client", "-port", srv.Port(), writeFile(t, content(1001)))
	require.Equal(t, 1, got.Status)
	require.Equal(t, []string{"received-1"}, inside(t, dir))
}

// announce returns the length n and then data, which may not be that long.
func announce(n uint32, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, n)) + data
}

func TestBadStreams(t *testing.T) {
	dir := t.TempDir()
	patient := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-max", "1000000")
	hasty := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-max", "1000000", "-stall", "100ms")
	for _, c := range []struct {
		name, stream string
		end          string // of the stream: "close" for this direction, "reset", "open"
		answer       string
		says         string // the server; empty: the same
	}{
		{"nothing at all", "", "close", "error: no file was sent", ""},
		{"silence", "", "open", "error: nothing comes any more before the whole length", ""},
		{"cut in the length", "\x00\x00\x00", "close", "error: the stream ends before the whole length", ""},
		{"halt in the length", "\x00\x00\x00", "open", "error: nothing comes any more before the whole length", ""},
		{"cut before the file", announce(10, ""), "close", "error: the stream ends after 0 of 10 bytes", ""},
		{"cut in the file", announce(10, "half "), "close", "error: the stream ends after 5 of 10 bytes", ""},
		{"halt in the file", announce(10, "half "), "open", "error: nothing comes any more after 5 of 10 bytes", ""},
		{"one byte more", announce(10, "0123456789!"), "close", "error: the stream goes on after the length that it announced", ""},
		{"one byte more, open", announce(10, "0123456789!"), "open", "error: the stream goes on after the length that it announced", ""},
		{"much more", announce(10, strings.Repeat("0123456789", 100_000)), "close", "error: the stream goes on after the length that it announced", ""},
		{"another file", announce(2, "ab") + announce(2, "cd"), "close", "error: the stream goes on after the length that it announced", ""},
		{"4 GiB claimed", "\xff\xff\xff\xff", "close", "error: 4294967295 bytes are more than the 1000000 that are taken here", ""},
		{"text", "GET / HTTP/1.1\r\n\r\n", "close", "error: 1195725856 bytes are more than the 1000000 that are taken here", ""},
		{"reset in the file", announce(10, "half "), "reset", "", "reset: the other side broke the connection off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := patient
			if strings.Contains(c.answer, "nothing comes") {
				srv = hasty
			}
			conn := clitest.Dial(t, srv.Addr)
			_, err := io.WriteString(conn, c.stream)
			require.NoError(t, err)
			switch c.end {
			case "close":
				require.NoError(t, conn.CloseWrite())
			case "reset":
				require.NoError(t, conn.SetLinger(0))
				require.NoError(t, conn.Close())
			}
			if c.end != "reset" {
				answer, err := io.ReadAll(conn)
				require.NoError(t, err)
				require.Equal(t, c.answer, string(answer))
			}
			if c.says == "" {
				c.says = strings.TrimPrefix(c.answer, complaint)
			}
			srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": nothing stored: "+c.says)
			require.Empty(t, inside(t, dir))
		})
	}
	require.Zero(t, clitest.Run(t, "", "client", "-port", patient.Port(), writeFile(t, []byte("still served"))).Status)
	requireContent(t, []byte("still served"), dir, "received-1")
}

func TestSlowSender(t *testing.T) {
	// A byte now and then is not enough: it takes 64 KiB, or the rest.
	srv := clitest.Start(t, "server", "-port", "0", "-dir", t.TempDir(), "-stall", "200ms")
	conn := clitest.Dial(t, srv.Addr)
	answered := make(chan string, 1)
	go func() {
		answer, _ := io.ReadAll(conn)
		answered <- string(answer)
	}()
	_, err := io.WriteString(conn, announce(1000, ""))
	require.NoError(t, err)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case answer := <-answered:
			tick.Stop()
			require.Contains(t, answer, "error: nothing comes any more after ")
			return
		case <-tick.C:
			conn.Write([]byte("x"))
		}
	}
}

func TestSenderThatWaitsWithAnOpenEnd(t *testing.T) {
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	conn := clitest.Dial(t, srv.Addr)
	_, err := io.WriteString(conn, announce(4, "hola"))
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "Gracias", string(answer))
	requireContent(t, []byte("hola"), dir, "received-1")
}

// A halfway passes the first bytes of a sender's stream on to the receiver,
// and then no more until one of them ends: a transfer that stands still.
type halfway struct {
	port    string
	reached chan struct{} // closed when so many bytes have passed
}

func startHalfway(t *testing.T, receiver string, bytes int64) *halfway {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &halfway{reached: make(chan struct{})}
	_, h.port, err = net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		from, err := ln.Accept()
		if err != nil {
			return
		}
		defer from.Close()
		to, err := net.Dial("tcp", receiver)
		if err != nil {
			return
		}
		defer to.Close()
		stop := context.AfterFunc(t.Context(), func() { from.Close(); to.Close() })
		defer stop()
		wg.Go(func() { // the answer
			io.Copy(from, to)
			from.(*net.TCPConn).CloseWrite()
		})
		if _, err := io.CopyN(to, from, bytes); err != nil {
			return
		}
		close(h.reached)
		io.Copy(io.Discard, from) // until the sender is gone
	})
	return h
}

func TestSenderKilled(t *testing.T) {
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	middle := startHalfway(t, srv.Addr, 1<<20)
	sender := clitest.StartClient(t, "", "client", "-port", middle.port, sparse(t, 1<<30))
	<-middle.reached
	sender.Signal(os.Kill)
	require.Equal(t, -1, sender.Wait())
	srv.Stdout.WaitFor(t, "nothing stored: ")
	require.Empty(t, inside(t, dir))
	require.Zero(t, clitest.Run(t, "", "client", "-port", srv.Port(), writeFile(t, []byte("the next"))).Status)
}

func TestSenderInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	middle := startHalfway(t, srv.Addr, 1<<20)
	sender := clitest.StartClient(t, "", "client", "-port", middle.port, sparse(t, 1<<30))
	<-middle.reached
	require.Equal(t, cli.Interrupted, sender.Stop())
	require.Equal(t, "sendfile: interrupted\n", sender.Stderr.String())
	srv.Stdout.WaitFor(t, "nothing stored: the stream ends after 1048572 of 1073741824 bytes\n")
	require.Empty(t, inside(t, dir))
}

func TestReceiverStopped(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	middle := startHalfway(t, srv.Addr, 1<<20)
	sender := clitest.StartClient(t, "", "client", "-port", middle.port, sparse(t, 1<<30))
	<-middle.reached
	waitForPart(t, dir)
	require.Zero(t, srv.Stop())
	require.Equal(t, 1, sender.Wait())
	require.Contains(t, sender.Stderr.String(), `refuses the file: "error: the receiver stops"`)
	require.Contains(t, srv.Stdout.String(), "nothing stored: the receiver stops\n")
	require.Empty(t, inside(t, dir))
}

// waitForPart waits until a transfer has begun and returns the name of its
// part.
func waitForPart(t *testing.T, dir string) string {
	t.Helper()
	for deadline := time.Now().Add(clitest.Limit); ; runtime.Gosched() {
		for _, name := range inside(t, dir) {
			if strings.HasPrefix(name, partPrefix) {
				return name
			}
		}
		require.True(t, time.Now().Before(deadline), "no transfer has begun")
	}
}

func TestReceiverKilled(t *testing.T) {
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	middle := startHalfway(t, srv.Addr, 1<<20)
	sender := clitest.StartClient(t, "", "client", "-port", middle.port, sparse(t, 1<<30))
	<-middle.reached
	part := waitForPart(t, dir)

	// Another receiver in the same folder does not touch what is under way.
	second := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	require.Zero(t, clitest.Run(t, "", "client", "-port", second.Port(), writeFile(t, []byte("second"))).Status)
	require.Equal(t, []string{part, "received-1"}, inside(t, dir))
	require.NotContains(t, second.Stdout.String(), "removed")

	srv.Signal(os.Kill)
	require.Equal(t, -1, srv.Wait())
	require.Equal(t, 1, sender.Wait())
	require.Regexp(t, `^sendfile: .* has closed the connection after \d+ of 1073741824 bytes, without an answer.*\n$`, sender.Stderr.String())
	require.Equal(t, []string{part, "received-1"}, inside(t, dir), "nobody takes that for the file")

	f, err := openFolder(dir, "", false)
	require.NoError(t, err)
	defer f.close()
	if file, err := f.root.OpenFile(part, os.O_RDWR, 0); err == nil && !lock(file) {
		file.Close()
		t.Skip("this system has no locks to tell parts that are left from parts under way")
	} else if err == nil {
		require.NoError(t, file.Close())
	}
	third := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	third.Stdout.WaitFor(t, "removed "+part+", left by a receiver that was killed\n")
	require.Equal(t, []string{"received-1"}, inside(t, dir))
}

func TestSweepLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	others := []string{".sendfile-", ".sendfile-notes", "x.part"}
	for _, name := range others {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".sendfile-folder.part"), 0o700))
	f, err := openFolder(dir, "", false)
	require.NoError(t, err)
	defer f.close()
	require.Empty(t, f.sweep())
	require.Len(t, inside(t, dir), 4)
}

// badReceiver is a peer that breaks the rules: answer gets one connection, of
// which the length has been read. over is closed when the test ends.
func badReceiver(t *testing.T, answer func(conn *net.TCPConn, over <-chan struct{})) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	over := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() { close(over); ln.Close(); wg.Wait() })
	wg.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(clitest.Limit))
		if _, err := io.ReadFull(conn, make([]byte, 4)); err == nil {
			answer(conn.(*net.TCPConn), over)
		}
	})
	_, port, err = net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	return port
}

func TestClientAgainstBadReceivers(t *testing.T) {
	small, big := writeFile(t, []byte("hola")), sparse(t, 1<<30)
	// after returns a receiver that reads n bytes, answers and closes.
	after := func(n int64, text string) func(*net.TCPConn, <-chan struct{}) {
		return func(conn *net.TCPConn, _ <-chan struct{}) {
			io.CopyN(io.Discard, conn, n)
			io.WriteString(conn, text)
			conn.CloseWrite()
			io.Copy(io.Discard, conn)
		}
	}
	for _, c := range []struct {
		name, file, timeout string
		answer              func(conn *net.TCPConn, over <-chan struct{})
		says                string
	}{
		{"no answer", small, "20s", after(4, ""), "has closed the connection after 4 of 4 bytes, without an answer: the file is hardly stored there"},
		{"another answer", small, "20s", after(4, "De nada\x1b[2J"), `refuses the file: "De nada\x1b[2J"`},
		{"a long answer", small, "20s", after(4, strings.Repeat("Gracias", 1000)), "bytes or more exceeds the limit of 1024"},
		{"silence", small, "100ms", func(_ *net.TCPConn, over <-chan struct{}) { <-over }, "within 100ms: the file may be stored there, or not"},
		{"an answer without end", small, "100ms", func(conn *net.TCPConn, over <-chan struct{}) { io.WriteString(conn, "Gracias"); <-over }, "within 100ms: the file may be stored there, or not"},
		{"thanks for a part", big, "20s", after(1000, "Gracias"), "gives thanks after "},
		{"refusal half-way", big, "20s", after(1000, "error: enough"), `refuses the file: "error: enough"`},
		{"it does not read", big, "100ms", func(_ *net.TCPConn, over <-chan struct{}) { <-over }, "timed out"},
		{"reset", big, "20s", func(conn *net.TCPConn, _ <-chan struct{}) { conn.SetLinger(0) }, " of 1073741824 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := clitest.Run(t, "", "client", "-port", badReceiver(t, c.answer), "-timeout", c.timeout, c.file)
			require.Equal(t, 1, got.Status, got.Stdout)
			require.Contains(t, got.Stderr, c.says)
			require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%q", got.Stderr)
			require.Empty(t, got.Stdout)
		})
	}
}

func TestFileThatChanges(t *testing.T) {
	for _, c := range []struct {
		content, stored, says string
	}{
		{"0123456789 and more", "0123456789", ""},
		{"012345", "", "after 6 of 10 bytes: the file has become shorter while it was sent"},
		{"", "", "after 0 of 10 bytes: the file has become shorter while it was sent"},
	} {
		dir := t.TempDir()
		srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
		conn := framing.NewConn(clitest.Dial(t, srv.Addr), ofSender, nil)
		sum, err := send(t.Context(), conn, strings.NewReader(c.content), 10, clitest.Limit, io.Discard)
		require.NoError(t, conn.Close())
		if c.says != "" {
			require.EqualError(t, err, c.says)
			srv.Stdout.WaitFor(t, "nothing stored: ")
			require.Empty(t, inside(t, dir))
			continue
		}
		// As long as it was when its length was told.
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256([]byte(c.stored)), [32]byte(sum))
		requireContent(t, []byte(c.stored), dir, "received-1")
	}
}

// command returns a program that is killed when the test ends or has lasted
// too long.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clitest.Limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

func TestPythonSender(t *testing.T) {
	python := interop.Python(t)
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-max", "300000")
	for i, more := range [][]string{nil, {"keep"}} {
		for j, size := range []int{0, 300_000} {
			want := content(size)
			out, err := command(t, python, append([]string{"testdata/peer.py", "send", srv.Port(), writeFile(t, want)}, more...)...).Output()
			require.NoError(t, err)
			require.Equal(t, "Gracias", strings.TrimSpace(string(out)))
			requireContent(t, want, dir, fmt.Sprintf("received-%d", 2*i+j+1))
		}
	}
	out, err := command(t, python, "testdata/peer.py", "send", srv.Port(), writeFile(t, content(300_001))).Output()
	require.NoError(t, err)
	require.Equal(t, "error: 300001 bytes are more than the 300000 that are taken here", strings.TrimSpace(string(out)))
}

func TestPythonReceiver(t *testing.T) {
	python := interop.Python(t)
	for _, size := range []int{0, 300_000} {
		dir := t.TempDir()
		peer := command(t, python, "testdata/peer.py", "receive", filepath.Join(dir, "stored"))
		stdout, err := peer.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, peer.Start())
		var port string
		_, err = fmt.Fscan(stdout, &port)
		require.NoError(t, err)
		want := content(size)
		got := clitest.Run(t, "", "client", "-port", port, writeFile(t, want))
		require.Zero(t, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, `answers "Gracias"`)
		require.NoError(t, peer.Wait())
		requireContent(t, want, dir, "stored")
	}
}

func FuzzReceive(f *testing.F) {
	for _, stream := range []string{"", "\x00", announce(0, ""), announce(4, "hola"), announce(4, "hol"), announce(4, "holas"), "\xff\xff\xff\xff!"} {
		f.Add([]byte(stream))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := framing.NewReader(bytes.NewReader(stream), ofReceiver)
		size, err := r.Next()
		if len(stream) < 4 {
			if len(stream) == 0 {
				require.Equal(t, io.EOF, err)
			} else {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			}
			return
		}
		require.NoError(t, err)
		want := int64(binary.BigEndian.Uint32(stream))
		require.Equal(t, want, size)
		body, err := io.ReadAll(r)
		if rest := stream[4:]; int64(len(rest)) < want {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			return
		}
		require.NoError(t, err)
		require.True(t, bytes.Equal(stream[4:4+want], body))
		_, err = r.Next()
		if int64(len(stream)) == 4+want {
			require.Equal(t, io.EOF, err)
		} else {
			require.ErrorIs(t, err, errTooLong)
		}
	})
}
