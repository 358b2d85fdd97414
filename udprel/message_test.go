package udprel_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/testcert"
	"github.com/zocalo-go/zocalo/udprel"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// TestLanes sends messages of all sizes on several lanes over a bad path, beside
// the stream.
func TestLanes(t *testing.T) {
	n := &simnet.Network{Seed: 9, Link: simnet.Link{
		Rate: 20 * mbit, Delay: 10 * time.Millisecond, Loss: 0.1, Reorder: 0.1, Duplicate: 0.1,
	}}
	simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		ctx := t.Context()
		sizes := []int{0, 1, 63, 1400, 1500, 5000, 100_000, 7, 0, 1_000_000, 3}
		data := pattern(1 << 20)
		const lanes = 3
		go func() {
			for i, size := range slices.Concat(sizes, sizes) {
				for lane := range uint8(lanes) {
					for _, mode := range []udprel.Mode{udprel.Ordered, udprel.Unordered} {
						msg := append(binary.BigEndian.AppendUint32(nil, uint32(i)), data[:size]...)
						err := p.client.Send(ctx, msg, udprel.Delivery{Lane: lane, Mode: mode, Repeat: size == 63})
						assert.NoError(t, err)
					}
				}
			}
		}()
		stream := make(chan error, 1)
		go func() {
			_, err := p.client.Write(data)
			stream <- err
		}()
		next := make(map[uint8]uint32)
		got := make(map[[3]uint32]bool)
		for range len(sizes) * 2 * lanes * 2 {
			m, err := p.server.Receive(ctx)
			require.NoError(t, err)
			i := binary.BigEndian.Uint32(m.Data)
			require.True(t, bytes.Equal(data[:sizes[i%uint32(len(sizes))]], m.Data[4:]), "message %d", i)
			if m.Mode == udprel.Ordered {
				require.Equal(t, next[m.Lane], i, "lane %d", m.Lane)
				next[m.Lane]++
			}
			k := [3]uint32{uint32(m.Lane), uint32(m.Mode), i}
			require.False(t, got[k], "twice: %v", k)
			got[k] = true
		}
		back := make([]byte, len(data))
		_, err := io.ReadFull(p.server, back)
		require.NoError(t, err)
		require.NoError(t, <-stream)
		require.True(t, bytes.Equal(data, back))
		require.NoError(t, p.client.Close())
		_, err = p.server.Receive(ctx)
		require.Equal(t, io.EOF, err)
	})
}

// TestNoHeadOfLineBlocking: while a large message is on its way on one lane, a
// small one on another passes it; on the same lane it waits.
func TestNoHeadOfLineBlocking(t *testing.T) {
	n := &simnet.Network{Seed: 9, Link: simnet.Link{Rate: 10 * mbit, Delay: 10 * time.Millisecond, Loss: 0.05}}
	simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		ctx := t.Context()
		require.NoError(t, p.client.Send(ctx, make([]byte, 2_000_000), udprel.Delivery{Lane: 1}))
		require.NoError(t, p.client.Send(ctx, []byte("same"), udprel.Delivery{Lane: 1}))
		require.NoError(t, p.client.Send(ctx, []byte("other"), udprel.Delivery{Lane: 2}))
		start := time.Now()
		var order []string
		for range 3 {
			m, err := p.server.Receive(ctx)
			require.NoError(t, err)
			if len(m.Data) < 10 {
				order = append(order, string(m.Data))
			} else {
				order = append(order, "large")
			}
			if order[0] == "other" && len(order) == 1 {
				assert.Less(t, time.Since(start), 200*time.Millisecond)
			}
		}
		assert.Equal(t, []string{"other", "large", "same"}, order)
	})
}

// TestUnreliable: what is lost stays lost, nothing comes twice, and a pause in
// receiving costs messages, not memory.
func TestUnreliable(t *testing.T) {
	n := &simnet.Network{Seed: 9, Link: simnet.Link{Rate: 20 * mbit, Delay: 10 * time.Millisecond, Loss: 0.1, Duplicate: 0.2, Reorder: 0.2}}
	simulate(t, n, nil, &udprel.Config{MessageBuffer: 64 << 10}, func(t *testing.T, p *pair) {
		p.accept(t)
		ctx := t.Context()
		const count = 1000
		for i := range uint32(count) {
			msg := binary.BigEndian.AppendUint32(make([]byte, 0, 3000), i)
			require.NoError(t, p.client.Send(ctx, msg[:4+i%2*2500], udprel.Delivery{Mode: udprel.Unreliable}))
			if i%10 == 0 {
				pass(20 * time.Millisecond)
			}
		}
		pass(time.Second)
		require.NoError(t, p.client.Close())
		got := make(map[uint32]bool)
		held := 0
		for {
			m, err := p.server.Receive(ctx)
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			i := binary.BigEndian.Uint32(m.Data)
			require.False(t, got[i], "message %d came twice", i)
			got[i] = true
			held += len(m.Data)
		}
		assert.Less(t, held, 64<<10)
		assert.Greater(t, len(got), 10)
	})
}

// TestMessageWindow: a sender waits for a receiver that does not receive.
func TestMessageWindow(t *testing.T) {
	n := &simnet.Network{Seed: 9, Link: simnet.Link{Rate: 20 * mbit, Delay: 10 * time.Millisecond, Loss: 0.05}}
	cfg := &udprel.Config{MessageBuffer: 100_000, SendBuffer: 50_000}
	simulate(t, n, cfg, cfg, func(t *testing.T, p *pair) {
		p.accept(t)
		ctx := t.Context()
		sent := make(chan int, 1000)
		go func() {
			for i := range 200 {
				assert.NoError(t, p.client.Send(ctx, make([]byte, 10_000), udprel.Delivery{Mode: udprel.Mode(i % 2)}))
				sent <- i
			}
			close(sent)
		}()
		pass(time.Minute)
		assert.LessOrEqual(t, len(sent), 15)
		for range 200 {
			_, err := p.server.Receive(ctx)
			require.NoError(t, err)
		}
		require.ErrorIs(t, p.client.Send(ctx, make([]byte, 100_000), udprel.Delivery{}), udprel.ErrTooLarge)
		require.ErrorContains(t, p.client.Send(ctx, nil, udprel.Delivery{Mode: 3}), "no mode 3")
		require.NoError(t, p.client.Send(ctx, make([]byte, 100_000-64), udprel.Delivery{}))
		m, err := p.server.Receive(ctx)
		require.NoError(t, err)
		require.Len(t, m.Data, 100_000-64)
	})
}

// TestRepeat: with repetition, a loss costs small messages milliseconds and not a
// round trip.
func TestRepeat(t *testing.T) {
	for _, loss := range []float64{0.05, 0.1} {
		for _, repeat := range []bool{true, false} {
			t.Run(fmt.Sprint(loss, " ", repeat), func(t *testing.T) {
				n := &simnet.Network{Seed: 4, Link: simnet.Link{Rate: 100 * mbit, Queue: 250_000, Delay: 10 * time.Millisecond, Loss: loss}}
				simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
					p.accept(t)
					ctx := t.Context()
					d := udprel.Delivery{Mode: udprel.Unordered, Repeat: repeat}
					const count = 2000
					go func() {
						for range count {
							m, err := p.server.Receive(ctx)
							if err != nil {
								return
							}
							assert.NoError(t, p.server.Send(ctx, m.Data, d))
						}
					}()
					start := time.Now()
					go func() {
						msg := make([]byte, 64)
						for range count {
							binary.BigEndian.PutUint64(msg, uint64(time.Since(start)))
							assert.NoError(t, p.client.Send(ctx, msg, d))
							pass(4 * time.Millisecond)
						}
					}()
					var times []time.Duration
					for range count {
						m, err := p.client.Receive(ctx)
						require.NoError(t, err)
						times = append(times, time.Since(start)-time.Duration(binary.BigEndian.Uint64(m.Data)))
					}
					slices.Sort(times)
					p99 := times[count*99/100]
					wire := float64(n.Stats(hostA, hostB).Bytes) / (count * 64)
					t.Logf("median %v, 99%% within %v, longest %v, %.1f bytes on the wire per byte", times[count/2], p99, times[count-1], wire)
					if repeat {
						assert.Less(t, p99, 32*time.Millisecond)
						assert.Less(t, wire, 11.0)
					} else {
						assert.Greater(t, p99, 40*time.Millisecond)
					}
				})
			})
		}
	}
}

// TestLoneRepeat: a message that no other follows is repeated by itself.
func TestLoneRepeat(t *testing.T) {
	n := &simnet.Network{Seed: 3, Link: simnet.Link{Delay: 10 * time.Millisecond}}
	simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		ctx := t.Context()
		lossy := simnet.Link{Delay: 10 * time.Millisecond, Loss: 0.5}
		n.SetLink(hostA, hostB, lossy)
		var worst, sum time.Duration
		for range 100 {
			start := time.Now()
			require.NoError(t, p.client.Send(ctx, []byte("now"), udprel.Delivery{Repeat: true}))
			_, err := p.server.Receive(ctx)
			require.NoError(t, err)
			took := time.Since(start)
			worst, sum = max(worst, took), sum+took
			pass(time.Second)
		}
		t.Logf("mean %v, worst %v", sum/100, worst)
		assert.Less(t, sum/100, 18*time.Millisecond, "5 ms for each loss")
		assert.Less(t, p.client.Stats().Repeats, uint64(1000))
	})
}

// TestTLS puts TLS on the stream, over a bad path.
func TestTLS(t *testing.T) {
	n := &simnet.Network{Seed: 9, Link: simnet.Link{Rate: 20 * mbit, Delay: 10 * time.Millisecond, Loss: 0.05}}
	simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
		server, client := testcert.Mutual(t)
		data := pattern(1 << 20)
		go func() {
			c := tls.Client(p.client, client)
			_, err := c.Write(data)
			assert.NoError(t, err)
			assert.NoError(t, c.Close())
		}()
		p.accept(t)
		c := tls.Server(p.server, server)
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		require.NoError(t, c.Close())
	})
}
