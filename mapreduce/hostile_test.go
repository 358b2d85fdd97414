package mapreduce

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/framing"
)

// dial connects to the master from a new host.
func (l *lab) dial() net.Conn {
	l.workers++
	addr := netip.AddrFrom4([4]byte{10, 0, 1 + byte(l.workers>>8), byte(l.workers)})
	c, err := l.net.Host(addr).Dial("tcp", masterAddr.String())
	require.NoError(l.t, err)
	l.t.Cleanup(func() { c.Close() })
	return c
}

// join connects as a worker that does what the test says.
func (l *lab) join(name string, kind Kind) link {
	c := link{framing.NewConn(l.dial(), nil, nil)}
	hello := &message{Type: msgHello, Version: protocolVersion, Name: name, Kind: kind, Port: 1}
	require.NoError(l.t, c.send(l.t.Context(), hello))
	welcome, _, err := c.receive(l.t.Context())
	require.NoError(l.t, err)
	require.Equal(l.t, msgWelcome, welcome.Type)
	return c
}

// next is the next message that is no piece of a stream.
func next(t *testing.T, c link) *message {
	t.Helper()
	for {
		m, _, err := c.receive(t.Context())
		require.NoError(t, err)
		if m != nil {
			return m
		}
	}
}

// closes checks that the master ends the connection within a minute.
func closes(t *testing.T, c net.Conn, what string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	_, err := io.Copy(io.Discard, c)
	nerr, ok := err.(net.Error)
	require.False(t, ok && nerr.Timeout(), "still open: %s", what)
}

func frame(payload ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func encoded(t testing.TB, m *message) []byte {
	var b bytes.Buffer
	c := link{framing.NewConn(&b, nil, nil)}
	require.NoError(t, c.send(context.Background(), m))
	return b.Bytes()
}

// Strangers at the master's port, while a job runs.
func TestStrangers(t *testing.T) {
	text := someText(100)
	want := sequential(t, wordCount(), text)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Splits: 4, MaxWorkers: 10})
		job := l.start(wordCount(), text)
		l.worker(&Worker{Name: "w", Slow: time.Second})
		for what, wire := range map[string][]byte{
			"HTTP":              []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
			"4 GiB":             {0xff, 0xff, 0xff, 0xff, 0},
			"an empty frame":    frame(),
			"an unknown frame":  frame(2, 3, 4),
			"a piece of stream": frame(isChunk, 'x'),
			"bad gob":           frame(isMessage, 0xff, 0xf8, 0x7f),
			"two messages":      frame(append(encoded(t, &message{Type: msgHello})[4:], 0)...),
			"no hello":          encoded(t, &message{Type: msgDone}),
			"another version":   encoded(t, &message{Type: msgHello, Version: 99}),
			"another kind":      encoded(t, &message{Type: msgHello, Version: protocolVersion, Kind: "cook"}),
			"no port":           encoded(t, &message{Type: msgHello, Version: protocolVersion, Kind: MapTask}),
			"a long name":       encoded(t, &message{Type: msgHello, Version: protocolVersion, Name: strings.Repeat("x", 65)}),
			"nothing":           nil,
			"half a hello":      encoded(t, &message{Type: msgHello})[:20],
		} {
			c := l.dial()
			c.Write(wire)
			closes(t, c, what)
		}
		for range 100 { // more than there is room for
			l.dial()
		}
		l.worker(&Worker{Name: "v"})
		got := <-job
		require.NoError(t, got.err)
		require.Equal(t, want, got.output)
	})
}

// A refused worker says why.
func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{})
		h := l.worker(&Worker{Name: strings.Repeat("x", 65)})
		<-h.done
		require.ErrorContains(t, h.err, "refuses: a worker's name has at most 64 bytes")
		require.ErrorContains(t, (&Worker{}).Run(t.Context(), masterAddr.String()), "no Program")
	})
}

// A worker that lies about its tasks changes nothing for the others.
func TestLyingWorker(t *testing.T) {
	text := someText(100)
	want := sequential(t, wordCount(), text)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Splits: 2})
		job := l.start(wordCount(), text)
		liar := l.join("liar", ReduceTask)
		l.worker(&Worker{Name: "m", Kind: MapTask, Slow: time.Second})
		assigned := next(t, liar)
		require.Equal(t, msgAssign, assigned.Type)
		other := assigned.Holders[0].Results[0]
		for _, m := range []*message{
			{Type: msgDone, ID: other},
			{Type: msgFailed, ID: other, Reason: "it is mine"},
			{Type: msgFailed, ID: attemptID{Run: 1, Kind: ReduceTask, Task: 7}, Reason: "no such task"},
			{Type: msgFailed, ID: attemptID{Run: 1, Kind: "cook", Task: -1, Attempt: -1}},
			{Type: msgOutput, ID: attemptID{Run: 2, Kind: ReduceTask}},
			{Type: msgPing, ID: other, Reason: "at it\x1b[2J"},
			{Type: msgDone, ID: assigned.ID}, // without its output
		} {
			require.NoError(t, liar.send(t.Context(), m))
			require.NoError(t, liar.write(t.Context(), []byte{isChunk, 'x'}))
		}
		l.waitFor("failed reduce 0 0 liar")
		l.worker(&Worker{Name: "r", Kind: ReduceTask})
		got := <-job
		require.NoError(t, got.err)
		require.Equal(t, want, got.output)
		require.Equal(t, []string{"done map 0 0 m", "done map 1 0 m", "done reduce 0 2 r"}, only("done", l.events))
		require.NoError(t, liar.send(t.Context(), &message{Type: msgWelcome}))
		closes(t, liar.Stream().(net.Conn), "after nonsense")
	})
}

func only(what string, events []Event) (some []string) {
	for _, line := range lines(events) {
		if strings.HasPrefix(line, what) {
			some = append(some, line)
		}
	}
	return some
}

// A mapper that takes its split but reads none of it holds up nobody else.
func TestWorkerThatNeverReads(t *testing.T) {
	text := someText(30_000) // more than the connection holds
	want := sequential(t, wordCount(), text)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Splits: 2, TaskTimeout: 5 * time.Second})
		job := l.start(wordCount(), text)
		l.join("deaf", MapTask)
		l.waitFor("assign map 0 0 deaf")
		began := time.Now()
		l.worker(&Worker{Name: "w"})
		l.waitFor("done map 1 0 w")
		require.Less(t, time.Since(began), time.Second)
		got := <-job
		require.NoError(t, got.err)
		require.Equal(t, want, got.output)
		require.Less(t, time.Since(began), 7*time.Second)
	})
}

// A completion that comes twice counts once, and a reducer's output with it.
func TestDuplicateCompletion(t *testing.T) {
	text := someText(100)
	want := sequential(t, wordCount(), text)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Splits: 1, Reducers: 2})
		job := l.start(wordCount(), text)
		twin := l.join("twin", MapTask)
		assigned := next(t, twin)
		for range 2 {
			require.NoError(t, twin.send(t.Context(), &message{Type: msgDone, ID: assigned.ID, Counters: []counter{{"lines", 1}}}))
		}
		l.waitFor("discard map 0 0 twin")
		twin.Close()
		l.worker(&Worker{Name: "w"})
		got := <-job
		require.NoError(t, got.err)
		require.Equal(t, want, got.output)
		require.EqualValues(t, 100, got.counters["lines"])
	})
}

// Whoever does not know the token gets no results from a mapper.
func TestStrangersAtTheMapper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Splits: 1, TaskTimeout: time.Minute})
		job := l.start(wordCount(), someText(100))
		l.worker(&Worker{Name: "m", Kind: MapTask})
		reducer := l.join("r", ReduceTask)
		assigned := next(t, reducer)
		from := assigned.Holders[0]
		call := func() link {
			c, err := l.net.Host(netip.MustParseAddr("10.0.9.9")).Dial("tcp", from.Addr)
			require.NoError(t, err)
			t.Cleanup(func() { c.Close() })
			return link{framing.NewConn(c, nil, nil)}
		}
		for what, m := range map[string]*message{
			"no token":     {Type: msgFetch, ID: from.Results[0]},
			"a wrong one":  {Type: msgFetch, ID: from.Results[0], Token: "guess"},
			"another type": {Type: msgHello},
		} {
			c := call()
			require.NoError(t, c.send(t.Context(), m))
			_, _, err := c.receive(t.Context())
			require.Error(t, err, what)
		}
		token := l.master.token
		c := call()
		for _, m := range []*message{
			{Type: msgFetch, ID: from.Results[0], Partition: 1, Token: token},
			{Type: msgFetch, ID: from.Results[0], Partition: 8, Token: token},
			{Type: msgFetch, ID: from.Results[0], Partition: -1, Token: token},
			{Type: msgFetch, ID: attemptID{Run: 1, Kind: MapTask, Attempt: 7}, Token: token},
		} {
			require.NoError(t, c.send(t.Context(), m))
			require.Equal(t, msgFailed, next(t, c).Type)
		}
		reducer.Close()
		l.worker(&Worker{Name: "r2", Kind: ReduceTask})
		require.NoError(t, (<-job).err)
	})
}

// A master that asks for nonsense is left.
func TestLyingMaster(t *testing.T) {
	for what, say := range map[string]*message{
		"too many partitions": {Type: msgAssign, ID: attemptID{Kind: MapTask}, Partitions: 1 << 40},
		"another type":        {Type: msgHello},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, &Master{})
				l.master.Close()
				host := l.net.Host(netip.MustParseAddr("10.0.0.2"))
				ln, err := host.Listen("tcp", ":7")
				require.NoError(t, err)
				defer ln.Close()
				w := l.net.Host(netip.MustParseAddr("10.0.0.3"))
				worker := &Worker{
					Dial:    w.DialContext,
					Listen:  func(network, address string) (net.Listener, error) { return w.Listen(network, address) },
					Program: func(string, map[string]string) (Program, error) { return wordCount(), nil },
				}
				done := make(chan error)
				go func() { done <- worker.Run(t.Context(), "10.0.0.2:7") }()
				c, err := ln.Accept()
				require.NoError(t, err)
				liar := link{framing.NewConn(c, nil, nil)}
				require.Equal(t, msgHello, next(t, liar).Type)
				require.NoError(t, liar.send(t.Context(), &message{Type: msgWelcome, Timeout: time.Second}))
				require.NoError(t, liar.send(t.Context(), say))
				closes(t, c, what)
				ln.Close()
				require.ErrorIs(t, <-done, ErrMasterGone)
			})
		})
	}
}

// What a stranger can make us remember is bounded, whatever lengths he claims.
func TestMessageMemory(t *testing.T) {
	plain := encoded(t, &message{Type: msgFailed, Holders: []holder{{Addr: "a", Results: []attemptID{{Run: 1}}}}})[4:]
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := 1; i < len(plain); i++ { // every byte becomes the head of a huge number
		bad := append(append(bytes.Clone(plain[:i]), 0xfb, 0x7f, 0xff, 0xff, 0xff, 0xff), plain[i:]...)
		parseFrame(bad)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, (after.TotalAlloc-before.TotalAlloc)/uint64(len(plain)), uint64(1<<20), "bytes for a message of %d", len(plain))
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{isChunk, 1, 2, 3})
	for _, m := range []*message{
		{Type: msgHello, Version: 1, Name: "m", Kind: MapTask, Port: 4711},
		{Type: msgAssign, ID: attemptID{1, ReduceTask, 2, 3}, Params: []param{{"a", "b"}}, Holders: []holder{{"h:1", []attemptID{{1, MapTask, 0, 0}}}}},
		{Type: msgDone, Counters: []counter{{"n", 1}}},
	} {
		f.Add(encoded(f, m)[4:])
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, chunk, err := parseFrame(wire)
		if err != nil {
			require.ErrorIs(t, err, errMalformed)
			return
		}
		if m == nil {
			require.Equal(t, wire[1:], chunk)
			return
		}
		again, _, err := parseFrame(encoded(t, m)[4:])
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(m), fmt.Sprint(again))
	})
}
