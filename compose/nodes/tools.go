//go:build tools

// Package nodes pins the daemons of the live network. It holds no code: its go.mod and go.sum fix the version and
// the hash of every module that lnd, lncli and btcd are built from.
package nodes

import (
	_ "github.com/btcsuite/btcd"
	_ "github.com/lightningnetwork/lnd/cmd/lncli"
	_ "github.com/lightningnetwork/lnd/cmd/lnd"
)
