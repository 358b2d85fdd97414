package mapreduce

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/testcert"
)

// The bytes of a message as they were when the protocol got its version.
func TestGoldenMessages(t *testing.T) {
	for name, want := range map[string]*message{
		"ping": {Type: msgPing},
		"assign": {
			Type: msgAssign, ID: attemptID{1, ReduceTask, 2, 3}, Job: "wordcount", Params: []param{{"case", "no"}}, Partitions: 4,
			Holders: []holder{{"10.0.0.7:4711", []attemptID{{1, MapTask, 0, 0}, {1, MapTask, 1, 2}}}},
		},
		"done": {Type: msgDone, ID: attemptID{1, MapTask, 2, 3}, Counters: []counter{{"lines", 500}}},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", "wire", name+".hex"))
		require.NoError(t, err)
		wire, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		require.NoError(t, err)
		got, _, err := parseFrame(wire[4:])
		require.NoError(t, err)
		require.Equal(t, want, got, name)
		require.Equal(t, len(wire)-4, int(wire[2])<<8|int(wire[3]), "the length of %s", name)
	}
}

func TestStream(t *testing.T) {
	for _, size := range []int{0, 1, maxChunk - 1, maxChunk, maxChunk + 1, 5*maxChunk + 17} {
		var wire, got bytes.Buffer
		c := link{framing.NewConn(&wire, nil, nil)}
		data := bytes.Repeat([]byte("zócalo "), size)[:size]
		w := newChunkWriter(t.Context(), c)
		n, err := w.Write(data)
		require.NoError(t, err)
		require.Equal(t, size, n)
		require.NoError(t, w.Close())
		require.NoError(t, c.receiveStream(t.Context(), &got))
		require.Equal(t, data, append([]byte{}, got.Bytes()...))
	}
	var wire bytes.Buffer
	c := link{framing.NewConn(&wire, nil, nil)}
	require.NoError(t, c.send(t.Context(), &message{Type: msgPing}))
	require.ErrorContains(t, c.receiveStream(t.Context(), &bytes.Buffer{}), `sent "ping" inside a stream`)
	require.ErrorIs(t, c.send(t.Context(), &message{Type: msgPing, Reason: strings.Repeat("x", maxMessage)}), framing.ErrTooLarge)
}

// Master, mappers and reducers over TLS that knows its people, on real sockets,
// with splits and tables larger than what is kept in memory.
func TestOverTLS(t *testing.T) {
	server, client := testcert.Mutual(t)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &Master{Splits: 3, Reducers: 2, Memory: minMemory, TempDir: t.TempDir()}
	served := make(chan error)
	go func() { served <- m.Serve(t.Context(), tls.NewListener(tcp, server)) }()
	workers := make(chan error)
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	for i, dir := range dirs {
		w := &Worker{
			Kind: []Kind{MapTask, ReduceTask, ""}[i], Memory: minMemory, TempDir: dir,
			Program: func(string, map[string]string) (Program, error) { return wordCount(), nil },
			Dial:    (&tls.Dialer{Config: client}).DialContext,
			Listen: func(network, address string) (net.Listener, error) {
				return tls.Listen(network, address, server)
			},
		}
		go func() { workers <- w.Run(t.Context(), tcp.Addr().String()) }()
	}
	stranger, err := net.Dial("tcp", tcp.Addr().String()) // without TLS
	require.NoError(t, err)
	defer stranger.Close()
	_, err = stranger.Write(encoded(t, &message{Type: msgHello, Version: protocolVersion}))
	require.NoError(t, err)

	text := someText(8_000)
	var out bytes.Buffer
	_, err = m.Run(t.Context(), wordCount(), Reader("text", strings.NewReader(text)), Writer(&out))
	require.NoError(t, err)
	require.Equal(t, sequential(t, wordCount(), text), out.String())
	require.NoError(t, m.Close())
	require.ErrorIs(t, <-served, net.ErrClosed)
	for range dirs {
		require.NoError(t, <-workers)
	}
	for _, dir := range append(dirs, m.TempDir) {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, "temporary files")
	}
}
