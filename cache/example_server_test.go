package cache_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"strings"

	"github.com/zocalo-go/zocalo/cache"
)

func ExampleServer() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &cache.Server{MaxBytes: 8 << 20}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), ln) }()

	// Any memcached client will do. Here is one made by hand.
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(conn, "set sq:12 0 60 3\r\n144\r\nget sq:12\r\nquit\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(strings.ReplaceAll(string(answer), "\r", ""))
	fmt.Println(server.Stats().Hits, "hit")
	server.Close()
	<-served
	// Output:
	// STORED
	// VALUE sq:12 0 3
	// 144
	// END
	// 1 hit
}
