package cache_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/zocalo-go/zocalo/cache"
)

// A function that takes its time is called twice with the same argument, and
// works once.
func Example() {
	slowSquare := func(_ context.Context, n int) (int, error) {
		fmt.Println("squaring", n)
		return n * n, nil
	}
	square := cache.NewMemo(slowSquare, nil).Get

	for range 2 {
		v, err := square(context.Background(), 12)
		fmt.Println(v, err)
	}
	// Output:
	// squaring 12
	// 144 <nil>
	// 144 <nil>
}

// A budget in bytes, and a look at what leaves.
func ExampleLocal() {
	c := cache.NewLRU(cache.Config[string, []byte]{
		Max:  10,
		Size: func(key string, value []byte) int { return len(key) + len(value) },
		OnEvict: func(key string, _ []byte, why cache.Reason) {
			fmt.Println(key, "leaves:", why)
		},
	})
	c.Set("a", []byte("1234"))
	c.Set("b", []byte("1234"))
	c.Get("a") // now b was not used for longest
	c.Set("c", []byte("1234"))
	fmt.Println(c.Set("d", make([]byte, 100)))
	fmt.Printf("%+v\n", c.Stats())
	// Output:
	// b leaves: full
	// false
	// {Hits:1 Misses:0 Sets:3 Evictions:1 Expirations:0 Entries:2 Size:10}
}

// There is no user 7, which is worth remembering too, but not for as long.
func ExampleMemo() {
	errNoUser := fmt.Errorf("no such user")
	asked := 0
	users := cache.NewMemo(func(_ context.Context, id int) (string, error) {
		asked++
		if id == 7 {
			return "", errNoUser
		}
		return fmt.Sprint("user ", id), nil
	}, &cache.MemoConfig[int, string]{
		TTL:         time.Hour,
		NotFound:    errNoUser,
		NotFoundTTL: time.Minute,
	})
	ctx := context.Background()
	for range 3 {
		users.Get(ctx, 1)
		users.Get(ctx, 7)
	}
	name, err := users.Get(ctx, 1)
	fmt.Println(name, err, "- asked:", asked)
	users.Delete(ctx, 1) // because the user has changed
	users.Get(ctx, 1)
	_, err = users.Get(ctx, 7)
	fmt.Println(err, "- asked:", asked)
	// Output:
	// user 1 <nil> - asked: 2
	// no such user - asked: 3
}

// Two programs that share a memcached share what they remember: the second one
// does not call its function.
func ExampleNewMemo_memcached() {
	ctx := context.Background()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &cache.Server{}
	go server.Serve(ctx, ln)
	defer server.Close()

	for _, program := range []string{"first", "second"} {
		client := cache.NewClient(ln.Addr().String())
		square := cache.NewMemo(func(_ context.Context, n int) (int, error) {
			fmt.Println(program, "computes")
			return n * n, nil
		}, &cache.MemoConfig[int, int]{Store: client, Name: "square", TTL: time.Hour}).Get
		fmt.Println(square(ctx, 12))
		client.Close()
	}
	// Output:
	// first computes
	// 144 <nil>
	// 144 <nil>
}

// Four keys in two buckets, evenly and all in one.
func ExampleQuality() {
	fmt.Println(cache.Quality([]int{2, 2}), cache.Quality([]int{4, 0}))
	// Output: 1 1.6666666666666667
}
