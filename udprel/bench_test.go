package udprel_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel"
)

// BenchmarkLoopback moves data over real sockets, in packets as they are on an
// Ethernet and in those that the loopback interface takes.
func BenchmarkLoopback(b *testing.B) {
	for _, size := range []int{1472, 32 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			client, server := loopback(b, &udprel.Config{MaxDatagram: size})
			defer client.Close()
			defer server.Close()
			go io.Copy(io.Discard, server)
			data := make([]byte, 1<<20)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := client.Write(data)
				require.NoError(b, err)
			}
		})
	}
}
