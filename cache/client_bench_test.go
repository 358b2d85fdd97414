package cache

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

// BenchmarkClient asks a server of ours on loopback.
func BenchmarkClient(b *testing.B) {
	const many = 100
	var keys []string
	var items []Item
	value := bytes.Repeat([]byte("v"), 256)
	for i := range many {
		keys = append(keys, fmt.Sprintf("key:%06d", i))
		items = append(items, Item{Key: keys[i], Value: value})
	}
	c := NewClient(serve(b, listen(b, "tcp", "127.0.0.1:0")))
	defer c.Close()
	ctx := b.Context()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(c.SetMulti(ctx, items))
	run := func(name string, items int, op func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(op())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*items), "ns/item")
		})
	}
	run("Get", 1, func() error { _, err := c.Get(ctx, keys[0]); return err })
	run("Set", 1, func() error { return c.Set(ctx, keys[0], value, 0) })
	run("GetMulti", many, func() error { _, err := c.GetMulti(ctx, keys); return err })
	run("SetMulti", many, func() error { return c.SetMulti(ctx, items) })
	run("Get by 16", 16, func() error {
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() { c.Get(ctx, keys[i]) })
		}
		wg.Wait()
		return nil
	})
}
