package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// limit is how long anything may take before a test fails.
const limit = 30 * time.Second

// open joins a pair. The test is skipped where the system's stack cannot be had.
func open(t *testing.T, config Config) *Pair {
	t.Helper()
	pair, err := Join(&config)
	for _, missing := range []error{errors.ErrUnsupported, os.ErrPermission, os.ErrNotExist} {
		if config.System && errors.Is(err, missing) {
			t.Skip(err)
		}
	}
	require.NoError(t, err)
	return pair
}

// join returns a pair that is closed when the test ends.
func join(t *testing.T, config Config) *Pair {
	t.Helper()
	pair := open(t, config)
	t.Cleanup(func() { require.NoError(t, pair.Close()) })
	return pair
}

// both runs a test with either stack.
func both(t *testing.T, test func(t *testing.T, config Config)) {
	for _, system := range []bool{false, true} {
		t.Run(map[bool]string{false: "gVisor", true: "system"}[system], func(t *testing.T) {
			test(t, Config{System: system, Seed: 1})
		})
	}
}

// connect returns the two ends of a TCP connection from A to B.
func connect(t *testing.T, pair *Pair) (a, b net.Conn) {
	t.Helper()
	ln, err := pair.B.Listen(0)
	require.NoError(t, err)
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			close(accepted)
			return
		}
		accepted <- conn
	}()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	a, err = pair.A.Dial(ctx, ln.Addr().String())
	require.NoError(t, err)
	b = <-accepted
	require.NotNil(t, b)
	for _, conn := range []net.Conn{a, b} {
		t.Cleanup(func() { conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
	}
	return a, b
}

// transfer sends n bytes over a new connection and requires that they arrive.
func transfer(t *testing.T, pair *Pair, n int) {
	t.Helper()
	a, b := connect(t, pair)
	want := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(want)
	written := make(chan error, 1)
	go func() {
		_, err := a.Write(want)
		if err == nil {
			err = a.(interface{ CloseWrite() error }).CloseWrite()
		}
		written <- err
	}()
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.NoError(t, <-written)
	require.True(t, bytes.Equal(want, got))
	_, err = b.Write([]byte("gracias")) // the other direction is open still
	require.NoError(t, err)
	answer := make([]byte, 7)
	_, err = io.ReadFull(a, answer)
	require.NoError(t, err)
}

func TestTCPOverABadLink(t *testing.T) {
	both(t, func(t *testing.T, config Config) {
		bad := simnet.Link{Delay: time.Millisecond, Loss: 0.02, Duplicate: 0.02, Reorder: 0.05}
		config.Up, config.Down = bad, bad
		pair := join(t, config)
		transfer(t, pair, 300_000)
		up, down := pair.Stats()
		require.Positive(t, up.Lost)
		require.Positive(t, up.Duplicated)
		require.Positive(t, up.Reordered)
		require.Positive(t, down.Packets)
	})
}

func TestMTU(t *testing.T) {
	both(t, func(t *testing.T, config Config) {
		config.Up.MTU = 576
		pair := join(t, config)
		transfer(t, pair, 100_000)
		up, _ := pair.Stats()
		require.Zero(t, up.TooBig, "TCP knows the MTU")
	})
}

func TestUDP(t *testing.T) {
	both(t, func(t *testing.T, config Config) {
		pair := join(t, config)
		a, err := pair.A.ListenPacket(0)
		require.NoError(t, err)
		defer a.Close()
		b, err := pair.B.ListenPacket(4253)
		require.NoError(t, err)
		defer b.Close()
		require.Equal(t, "10.0.0.2:4253", b.LocalAddr().String())
		require.NoError(t, b.SetDeadline(time.Now().Add(limit)))
		for _, size := range []int{10_000, 1472, 0} { // fragments are lost, the others are not
			_, err = a.WriteTo(make([]byte, size), b.LocalAddr())
			require.NoError(t, err)
		}
		got := make([]byte, 65535)
		for _, size := range []int{1472, 0} {
			n, from, err := b.ReadFrom(got)
			require.NoError(t, err)
			require.Equal(t, size, n)
			require.Equal(t, a.LocalAddr().String(), from.String())
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	both(t, func(t *testing.T, config Config) {
		config.Down.Down = true
		pair := join(t, config)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := pair.A.Dial(ctx, "10.0.0.2:1")
		require.Error(t, err)
		_, err = pair.A.Dial(t.Context(), "localhost:1")
		require.ErrorContains(t, err, "localhost")
		_, err = pair.A.Dial(t.Context(), "[::1]:1")
		require.Error(t, err)
	})
}

// Close ends what is under way, and leaves no goroutine.
func TestClose(t *testing.T) {
	both(t, func(t *testing.T, config Config) {
		before := runtime.NumGoroutine()
		pair := open(t, config)
		a, _ := connect(t, pair)
		_, err := a.Write([]byte("x"))
		require.NoError(t, err)
		a.Close()
		require.NoError(t, pair.Close())
		for deadline := time.Now().Add(limit); runtime.NumGoroutine() > before; runtime.Gosched() {
			require.True(t, time.Now().Before(deadline), "%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	})
}

func TestCongestion(t *testing.T) {
	transfer(t, join(t, Config{Congestion: "reno"}), 10_000)
	_, err := Join(&Config{Congestion: "vegas?"})
	require.EqualError(t, err, `hosts: gVisor's TCP has no congestion control "vegas?"`)
	t.Run("system", func(t *testing.T) {
		pair := join(t, Config{Congestion: "vegas?", System: true})
		_, err := pair.A.Listen(0)
		require.ErrorContains(t, err, `congestion control "vegas?"`)
	})
}

func ExampleJoin() {
	link, err := simnet.ParseLink("delay=5ms,loss=10%")
	if err != nil {
		panic(err)
	}
	pair, err := Join(&Config{Up: link, Down: link})
	if err != nil {
		panic(err)
	}
	defer pair.Close()
	ln, err := pair.B.Listen(0)
	if err != nil {
		panic(err)
	}
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			io.WriteString(conn, "hola")
			conn.Close()
		}
	}()
	conn, err := pair.A.Dial(context.Background(), ln.Addr().String())
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	fmt.Printf("%s %v\n", text, err)
	// Output: hola <nil>
}
