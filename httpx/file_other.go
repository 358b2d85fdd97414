//go:build !unix

package httpx

const openNonblock = 0 // no named pipes among the files

func outOfFiles(error) bool { return false }

func noSpace(error) bool { return false }
