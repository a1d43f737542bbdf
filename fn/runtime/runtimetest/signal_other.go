//go:build !unix

package runtimetest

func ignoreRequests() {}
