package mq

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// wire returns the bytes of a backlog.
func (q *backlog) wire() []byte {
	var b []byte
	for _, k := range q.blocks {
		b = append(b, k.b...)
	}
	return b
}

// After a write that ended in the middle, exactly the messages stay that were
// not written whole.
func TestForget(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		var q backlog
		var ends []int // of the messages
		for range 1 + rnd.IntN(8) {
			for parts := rnd.IntN(3); parts >= 0; parts-- {
				flags := byte(flagMore)
				if parts == 0 {
					flags = 0
				}
				sizes := []int{0, 10, 300, blockSize / 3, bigFrame, 2 * blockSize}
				q.frame(flags, make([]byte, sizes[rnd.IntN(len(sizes))]))
			}
			ends = append(ends, len(q.wire()))
		}
		wire := q.wire()
		written := rnd.IntN(len(wire) + 1)
		if rnd.IntN(3) == 0 {
			written = ends[rnd.IntN(len(ends))]
		}
		begin, stay := 0, 0
		for _, end := range ends {
			if end <= written {
				begin = end
			} else {
				stay++
			}
		}
		require.Equal(t, stay, q.forget(written))
		require.True(t, bytes.Equal(wire[begin:], q.wire()))
		q.clear()
	}
}

// A block that several queues hold is not used again before the last gives it up.
func TestSharedBlocks(t *testing.T) {
	body := bytes.Repeat([]byte{7}, bigFrame)
	var message, a, b backlog
	message.frame(0, body)
	for _, q := range []*backlog{&a, &b} {
		q.share(message.blocks[0])
	}
	message.clear()
	a.clear()
	for range 3 { // would take the block out of the pool
		newBlock(bigFrame)
	}
	b.frame(0, []byte("behind")) // not into the shared block
	_, got, size := splitFrame(b.blocks[0].b)
	require.Equal(t, body, got)
	require.Len(t, b.blocks[0].b, size)
	require.EqualValues(t, 1, b.blocks[0].refs.Load())
}

// A message of many small frames fills several blocks: it ends in the last.
func TestLongMessageOfSmallFrames(t *testing.T) {
	s, err := NewSocket(XSUB, nil)
	require.NoError(t, err)
	defer s.Close()
	s.message(make([][]byte, blockSize))
	p := s.newPipe("", true)
	require.True(t, p.offerEncoded(&s.scratch, 0))
	require.Greater(t, len(p.out.blocks), 1)
	require.Equal(t, len(p.out.blocks), p.out.group(1), "not to be cut")
	p.out.clear()
	s.scratch.clear()
}

// The memory that a huge message took is given back when it has passed.
func TestNothingHugeIsKept(t *testing.T) {
	server, client := net.Pipe()
	defer client.Close()
	defer server.Close()
	go io.Copy(io.Discard, client)
	boxes, _ := boxes()
	l := newLink(server, boxes)
	l.batch.frame(0, make([]byte, keepSize))
	require.NoError(t, l.flush())
	require.Zero(t, cap(l.sealed))

	var wire backlog
	for range maxParts {
		wire.frame(flagMore, nil)
	}
	wire.frame(0, nil)
	d := &decoder{src: bytes.NewReader(wire.wire()), maxFrame: 1 << 20, maxSize: 1 << 20}
	batch, err := d.read(1)
	require.NoError(t, err)
	require.Len(t, batch[0], maxParts+1)
	require.Zero(t, cap(d.parts))
}
