/* Copyright: (c) 2026, the llama-fleet authors
 * SPDX-License-Identifier: MIT
 *
 * A CPU with AMX, as far as the probe needs one, for LD_PRELOAD on a CPU without: the tile configuration is kept in
 * memory, and a tile that is not configured is an illegal instruction. With AMX=refused the kernel refuses, with
 * AMX=broken no AMX instruction works.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static unsigned char tiles[64];
static const int registers[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static int is(const char * mode) { return getenv("AMX") && strcmp(getenv("AMX"), mode) == 0; }

/* The probe calls it only for ARCH_REQ_XCOMP_PERM. */
long syscall(long number, ...) {
    (void) number;
    return is("refused") ? -1 : 0;
}

static void illegal(int number, siginfo_t * info, void * context) {
    (void) info;
    greg_t * all = ((ucontext_t *) context)->uc_mcontext.gregs;
    const unsigned char * code = (const unsigned char *) all[REG_RIP];
    int prefix = code[2] & 3, mode = code[4] >> 6, low = code[4] & 7, length = 5;
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || code[3] != 0x49 || (mode == 3 && prefix == 3 && !tiles[48])) {
        signal(number, SIG_DFL); /* not ours, or a tile without rows */
        return;
    }
    if (mode != 3) {
        int high = code[1] & 0x20 ? 0 : 8; /* VEX.B, inverted */
        int base = low;
        if (low == 4) base = code[length++] & 7; /* a SIB byte without index */
        char * address = (char *) all[registers[base + high]];
        if (mode == 1) address += (int8_t) code[length++];
        if (mode == 2) {
            int32_t far;
            memcpy(&far, code + length, 4);
            address += far;
            length += 4;
        }
        if (prefix == 0) memcpy(tiles, address, 64);
        if (prefix == 1) memcpy(address, tiles, 64);
    }
    all[REG_RIP] += length;
}

__attribute__((constructor)) static void start(void) {
    struct sigaction action = {0};
    action.sa_sigaction = illegal;
    action.sa_flags = SA_SIGINFO;
    if (!is("broken")) sigaction(SIGILL, &action, 0);
}
