package mq_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/mq"
)

// joined returns two sockets of which b is connected to a.
func joined(b *testing.B, endpoint string, ta, tb mq.Type) (bound, connected *mq.Socket) {
	cfg := &mq.Config{Inproc: new(mq.Inproc), Linger: -1}
	bound, err := mq.NewSocket(ta, cfg)
	require.NoError(b, err)
	b.Cleanup(func() { bound.Close() })
	connected, err = mq.NewSocket(tb, cfg)
	require.NoError(b, err)
	b.Cleanup(func() { connected.Close() })
	at, err := bound.Bind(b.Context(), endpoint)
	require.NoError(b, err)
	require.NoError(b, connected.Connect(at))
	return bound, connected
}

func BenchmarkPush(b *testing.B) {
	for _, endpoint := range []string{"tcp://127.0.0.1:*", "inproc://bench"} {
		for _, size := range []int{10, 100, 1024, 65536} {
			b.Run(fmt.Sprintf("%.3s/%d", endpoint, size), func(b *testing.B) {
				pull, push := joined(b, endpoint, mq.PULL, mq.PUSH)
				ctx := context.Background()
				payload := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				sent := make(chan int)
				go func() {
					n := 0
					for b.Loop() {
						if push.Send(ctx, payload) != nil {
							break
						}
						n++
					}
					_ = push.Send(ctx, []byte{})
					sent <- n
				}()
				n := 0
				for m, err := range pull.Messages(ctx) {
					if err != nil || len(m[0]) == 0 {
						break
					}
					n++
				}
				require.Equal(b, <-sent, n)
			})
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, endpoint := range []string{"tcp://127.0.0.1:*", "inproc://bench"} {
		b.Run(endpoint[:3], func(b *testing.B) {
			rep, req := joined(b, endpoint, mq.REP, mq.REQ)
			ctx := context.Background()
			go func() {
				for m, err := range rep.Messages(ctx) {
					if err != nil || rep.Send(ctx, m...) != nil {
						return
					}
				}
			}()
			b.ReportAllocs()
			for b.Loop() {
				if err := req.Send(ctx, []byte("hello")); err != nil {
					b.Fatal(err)
				}
				if _, err := req.Recv(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
