package httpx_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/zocalo-go/zocalo/httpx"
)

// A server that counts the visits of each client.
func ExampleSession() {
	type client struct{ Visits int }
	key := make([]byte, 32)
	rand.Read(key) // a real server keeps it, or nobody is known after a restart
	sessions := &httpx.Sessions[client]{
		Store:  new(httpx.MemorySessions),
		Signer: httpx.Signer{Keys: [][]byte{key}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Get(r)
		if err != nil {
			http.Error(w, "no store", http.StatusInternalServerError)
			return
		}
		s.Data.Visits++
		if err := s.Save(w, r); err != nil {
			http.Error(w, "no store", http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "visit %d", s.Data.Visits)
	}))
	defer server.Close()

	susana := &http.Client{Jar: new(httpx.Jar)}
	for range 3 {
		resp, err := susana.Get(server.URL)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%s\n", body)
	}
	// Output:
	// visit 1
	// visit 2
	// visit 3
}

// A browser is closed and opened again.
func ExampleJar() {
	shop := &url.URL{Scheme: "http", Host: "shop.test", Path: "/"}
	jar := new(httpx.Jar)
	jar.SetCookies(shop, []*http.Cookie{
		{Name: "id", Value: "7", MaxAge: 3600},
		{Name: "visit", Value: "1"}, // until the browser is closed
	})
	fmt.Println(jar.Cookies(shop))
	var file bytes.Buffer
	if err := jar.Save(&file); err != nil {
		log.Fatal(err)
	}

	again := new(httpx.Jar)
	if err := again.Load(&file); err != nil {
		log.Fatal(err)
	}
	fmt.Println(again.Cookies(shop))
	// Output:
	// [id=7 visit=1]
	// [id=7]
}

// What a store does.
func ExampleMemorySessions() {
	ctx := context.Background()
	var store httpx.MemorySessions
	if err := store.Save(ctx, "id", []byte("cart"), time.Now().Add(time.Hour)); err != nil {
		log.Fatal(err)
	}
	data, ok, _ := store.Load(ctx, "id")
	fmt.Printf("%s %v\n", data, ok)
	_, ok, _ = store.Load(ctx, "another")
	fmt.Println(ok)
	// Output:
	// cart true
	// false
}
