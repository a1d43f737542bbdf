package kptpkg_test

import (
	"testing"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/require"
)

// An edit that takes back an earlier one is a change too, although the file then
// says what it said when it was read.
func TestEditBackToWhatWasRead(t *testing.T) {
	const text = "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: web\n"
	before, err := kptpkg.NewTree(kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte(text)))
	require.NoError(t, err)
	changed, err := before.EditKptfile(".", func(k *kptpkg.KptfileEditor) error { k.SetName("other"); return nil })
	require.NoError(t, err)
	back, err := changed.EditKptfile(".", func(k *kptpkg.KptfileEditor) error { k.SetName("web"); return nil })
	require.NoError(t, err)
	got, err := back.File("Kptfile").Bytes()
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}
