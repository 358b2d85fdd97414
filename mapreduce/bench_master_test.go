package mapreduce

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkWordCountOnWorkers is BenchmarkWordCount on a master with two mappers
// and a reducer, over loopback, in one process.
func BenchmarkWordCountOnWorkers(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	m := &Master{TempDir: b.TempDir()}
	var wg sync.WaitGroup
	wg.Go(func() { m.Serve(ctx, ln) })
	for _, kind := range []Kind{MapTask, MapTask, ReduceTask} {
		w := &Worker{Kind: kind, TempDir: b.TempDir(), Program: func(string, map[string]string) (Program, error) { return wordCountBytes(), nil }}
		wg.Go(func() { w.Run(ctx, ln.Addr().String()) })
	}
	benchmark(b, m, wordCountBytes())
	m.Close()
	cancel()
	wg.Wait()
}
