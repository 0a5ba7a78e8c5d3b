package main

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// Encodings as LLVM's assembler has them.
func TestEncodings(t *testing.T) {
	for text, c := range map[string]struct {
		got  []byte
		want string
	}{
		"ldtilecfg (%rax)":                {ldtilecfg.memory(0, 0, -1, 0), "c4e2784900"},
		"ldtilecfg (%r9)":                 {ldtilecfg.memory(0, 9, -1, 0), "c4c2784901"},
		"ldtilecfg (%r12)":                {ldtilecfg.memory(0, 12, -1, 0), "c4c278490424"},
		"ldtilecfg (%r13)":                {ldtilecfg.memory(0, 13, -1, 0), "c4c278494500"},
		"tilerelease":                     {tilerelease.registers(0, 0, 0), "c4e27849c0"},
		"tilezero %tmm0":                  {tilezero.registers(0, 0, 0), "c4e27b49c0"},
		"tilezero %tmm5":                  {tilezero.registers(5, 0, 0), "c4e27b49e8"},
		"tileloadd (%rsi,%rbx), %tmm4":    {tileloadd.memory(4, 6, 3, 0), "c4e27b4b241e"},
		"tileloadd 64(%rsi,%rbx), %tmm5":  {tileloadd.memory(5, 6, 3, 64), "c4e27b4b6c1e40"},
		"tileloadd (%r13,%r10), %tmm6":    {tileloadd.memory(6, 13, 10, 0), "c4827b4b741500"},
		"tileloadd (%rdi,%r10), %tmm6":    {tileloadd.memory(6, 7, 10, 0), "c4a27b4b3417"},
		"tilestored %tmm3, 64(%r11,%rbx)": {tilestored.memory(3, 11, 3, 64), "c4c27a4b5c1b40"},
		"tilestored %tmm7, (%rax,%r15)":   {tilestored.memory(7, 0, 15, 0), "c4a27a4b3c38"},
		"tdpbsud %tmm4, %tmm6, %tmm0":     {tdpbsud.registers(0, 4, 6), "c4e25a5ec6"},
		"tdpbsud %tmm5, %tmm7, %tmm3":     {tdpbsud.registers(3, 5, 7), "c4e2525edf"},
		"vpdpbusd %ymm2, %ymm1, %ymm0":    {vpdpbusdY.registers(0, 1, 2), "c4e27550c2"},
		"vpdpbusd %ymm14, %ymm12, %ymm3":  {vpdpbusdY.registers(3, 12, 14), "c4c21d50de"},
		"vpdpbusd %ymm3, %ymm9, %ymm15":   {vpdpbusdY.registers(15, 9, 3), "c4623550fb"},
	} {
		if want, _ := hex.DecodeString(c.want); !bytes.Equal(c.got, want) {
			t.Errorf("%s: % x, want % x", text, c.got, want)
		}
	}
}
