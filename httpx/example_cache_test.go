package httpx_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"

	"github.com/zocalo-go/zocalo/httpx"
)

// A client with a memory: the second request does not leave the machine.
func ExampleCache() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("the origin is asked")
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "hola")
	}))
	defer origin.Close()

	cache := new(httpx.Cache)
	defer cache.Close()
	client := &http.Client{Transport: cache}
	for range 2 {
		resp, err := client.Get(origin.URL)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body) // a response is stored when it has been read to its end
		resp.Body.Close()
		fmt.Printf("%s\n", body) // the field Cache-Status says where it comes from
	}
	fmt.Println("hits:", cache.Stats().Hits)
	// Output:
	// the origin is asked
	// hola
	// hola
	// hits: 1
}

// A cache that outlives its process.
func ExampleDiskStore() {
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		io.WriteString(w, "hola")
	}))
	defer origin.Close()

	for range 2 { // each turn stands for a process
		store, err := httpx.OpenDiskStore(dir)
		if err != nil {
			log.Fatal(err)
		}
		cache := &httpx.Cache{Store: store, MaxBytes: 1 << 30}
		resp, err := (&http.Client{Transport: cache}).Get(origin.URL)
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		fmt.Println("asked the origin:", cache.Stats().Misses, "hits:", cache.Stats().Hits)
		cache.Close()
		store.Close()
	}
	// Output:
	// asked the origin: 1 hits: 0
	// asked the origin: 0 hits: 1
}

// A reverse proxy that remembers.
func ExampleProxy() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("the origin is asked, by way of", r.Header.Get("Via"))
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "hola")
	}))
	defer origin.Close()
	to, err := url.Parse(origin.URL)
	if err != nil {
		log.Fatal(err)
	}

	cache := new(httpx.Cache)
	defer cache.Close()
	front := httptest.NewServer(&httpx.Proxy{Origin: to, Transport: cache, Name: "plaza"})
	defer front.Close()
	for range 2 {
		resp, err := http.Get(front.URL)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%s\n", body)
	}
	// Output:
	// the origin is asked, by way of 1.1 plaza
	// hola
	// hola
}

// Two servers behind one address. The first dies, and nobody notices.
func ExampleBalancer() {
	say := func(name string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name) }))
	}
	uno, dos := say("uno"), say("dos")
	defer dos.Close()

	balancer := new(httpx.Balancer)
	defer balancer.Close()
	for _, s := range []*httptest.Server{uno, dos} {
		u, err := url.Parse(s.URL)
		if err != nil {
			log.Fatal(err)
		}
		if err := balancer.Add(u, 1); err != nil {
			log.Fatal(err)
		}
	}
	front := httptest.NewServer(&httpx.Proxy{Origin: &url.URL{Scheme: "http", Host: "nodes"}, Transport: balancer})
	defer front.Close()
	ask := func() {
		resp, err := http.Get(front.URL)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%s ", body)
	}
	for range 4 {
		ask()
	}
	uno.Close()
	for range 4 {
		ask()
	}
	// Output: uno dos uno dos dos dos dos dos
}
