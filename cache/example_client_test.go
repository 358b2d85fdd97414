package cache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/zocalo-go/zocalo/cache"
)

// listen starts a server of our own on a free port, and returns its address.
func listen(s *cache.Server) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go s.Serve(context.Background(), ln)
	return ln.Addr().String()
}

// A client of two servers, each of which has some of the keys. They may as well be the real memcached.
func ExampleClient() {
	var a, b cache.Server
	defer a.Close()
	defer b.Close()
	c := cache.NewClient(listen(&a), listen(&b))
	defer c.Close()

	ctx := context.Background()
	if err := c.Set(ctx, "greeting", []byte("hola"), time.Minute); err != nil {
		fmt.Println(err)
	}
	value, err := c.Get(ctx, "greeting")
	fmt.Printf("%s %v\n", value, err)

	_, err = c.Get(ctx, "farewell")
	fmt.Println(errors.Is(err, cache.ErrMiss))
	// Output:
	// hola <nil>
	// true
}

// Two programs change a value. Nothing is lost, because each stores only what
// nobody has changed meanwhile.
func ExampleClient_CompareAndSwap() {
	var server cache.Server
	defer server.Close()
	c := cache.NewClient(listen(&server))
	defer c.Close()
	ctx := context.Background()

	add := func(name string) error {
		for {
			item, err := c.GetItem(ctx, "guests")
			if err != nil {
				return err
			}
			item.Value = fmt.Append(item.Value, " ", name)
			if err := c.CompareAndSwap(ctx, item); !errors.Is(err, cache.ErrConflict) {
				return err
			}
		}
	}
	fmt.Println(c.Set(ctx, "guests", []byte("Ada"), time.Hour))
	done := make(chan error)
	for _, name := range []string{"Grace", "Radia"} {
		go func() { done <- add(name) }()
	}
	fmt.Println(<-done, <-done)
	value, _ := c.Get(ctx, "guests")
	fmt.Println(len(value), "bytes")
	// Output:
	// <nil>
	// <nil> <nil>
	// 15 bytes
}

// Where ten keys are with three servers, and with one more. No server is needed
// to know.
func ExampleSelector() {
	three := cache.Ketama(cache.Nodes("10.0.0.1", "10.0.0.2", "10.0.0.3"))
	four := cache.Ketama(cache.Nodes("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"))
	for i := range 10 {
		key := fmt.Sprint("sq:", i)
		if before, after := three(key), four(key); before != after {
			fmt.Printf("%s moves from %d to %d\n", key, before, after)
		}
	}
	// Output:
	// sq:1 moves from 2 to 3
	// sq:4 moves from 0 to 3
	// sq:5 moves from 1 to 3
}
