package simnet_test

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// BenchmarkPackets sends datagrams of 1200 bytes over one link on virtual time,
// as a transport would: paced, one reader. One op is 10,000 datagrams.
func BenchmarkPackets(b *testing.B) {
	const count = 10_000
	for _, text := range []string{"", "rate=100mbit,delay=10ms", "rate=100mbit,delay=10ms,jitter=1ms,loss=1%,dup=1%,reorder=1%"} {
		b.Run(text, func(b *testing.B) {
			l := link(b, text)
			b.ReportAllocs()
			for b.Loop() {
				bubble(b, func() {
					n := &simnet.Network{Link: l}
					dst, src := listen(b, n.Host(bob), ":9"), listen(b, n.Host(alice), ":9")
					var g sync.WaitGroup
					g.Go(func() {
						buf := make([]byte, 2000)
						for {
							if _, _, err := dst.ReadFromUDPAddrPort(buf); err != nil {
								return
							}
						}
					})
					to, buf := at(bob, 9), make([]byte, 1200)
					for range count {
						if _, err := src.WriteToUDPAddrPort(buf, to); err != nil {
							b.Error(err)
						}
						time.Sleep(100 * time.Microsecond)
					}
					dst.Close()
					g.Wait()
				})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/packet")
		})
	}
}

// BenchmarkModel is the link alone. One op is one packet.
func BenchmarkModel(b *testing.B) {
	m := simnet.NewModel(link(b, "rate=100mbit,delay=10ms,jitter=1ms,loss=1%,burst=3,dup=1%,reorder=1%"), 1, 2)
	b.ReportAllocs()
	now := time.Duration(0)
	for b.Loop() {
		if now += 100 * time.Microsecond; m.Send(now, 1200).Drop == "" {
			m.Arrive()
		}
	}
}

// BenchmarkStream moves 10 MB over a stream on virtual time. One op is all of it.
func BenchmarkStream(b *testing.B) {
	for _, text := range []string{"", "rate=100mbit,delay=10ms"} {
		b.Run(text, func(b *testing.B) {
			l := link(b, text)
			b.SetBytes(10e6)
			b.ReportAllocs()
			for b.Loop() {
				bubble(b, func() {
					client, server := pair(b, &simnet.Network{Link: l})
					var g sync.WaitGroup
					g.Go(func() {
						client.Write(make([]byte, 10e6))
						client.Close()
					})
					n, err := io.Copy(io.Discard, server)
					require.NoError(b, err)
					require.EqualValues(b, 10e6, n)
					server.Close()
					g.Wait()
				})
			}
		})
	}
}

// bubble runs f in a bubble, which package testing gives only to tests.
func bubble(b *testing.B, f func()) {
	ok := testing.RunTests(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{
		Name: b.Name(), F: func(t *testing.T) { synctest.Test(t, func(*testing.T) { f() }) },
	}})
	if !ok {
		b.Fatal("failed in the bubble")
	}
}
