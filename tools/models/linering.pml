/*
 * The exchange, the reader, and the recovery of a dead writer's cell, for SPIN.
 *
 * Memory here is sequentially consistent: a step is one access to shared memory, and every process
 * sees all steps in one order. What a weaker memory does beside that is the subject of the loom
 * models (src/exchange/loom_models.rs); they, in turn, try short runs. This model
 * lets a process die or stand still before each of its steps, and tries every order of the steps of
 * a whole small ring.
 *
 * The macros are named after the functions of src/exchange/mod.rs and src/exchange/settle.rs. Names of the
 * configuration (POLICY, WRITERS, ...) and of the mutants (NO_INTENT, ...) come from
 * tools/models/check by -D.
 *
 * Left out: the reader's own cell (its slot never moves), the words of a line but for two, the
 * position in a slot's header, sleeping and waking (a process that would sleep is blocked until its
 * condition holds), tickets, seats, forks, a cell's next mirror, damaged words, and observers.
 *
 * Invariants, of which I1 to I5 are those of src/exchange/mod.rs:
 *
 *   I1  An entry only moves forward: by one exchange or one take at a time.
 *   I2  A slot is in one place: in one entry, or it is the spare of one cell. While a cell's hold
 *       word says INTENT(a, b) one of the two is its spare; HELD(a) says that a is.
 *   I3  Only the owner of a spare writes its words. What the reader hands over is one writer's, and
 *       whole.
 *   I4  Positions are filled in order, so there is no hole.
 *   I5  The tail hint never leads.
 *   I6  A writer is refused only if the ring is full.
 *   I7  A still ring is decided: when no word has moved during a recoverer's look, the look says
 *       which slot the dead cell owns, also beside a process that has announced an intent and
 *       stands still for ever.
 *   I8  A piece is published once at most. Last words are never an older piece.
 *   I9  A process waits for no stopped process: at the end each writer that was not stopped has
 *       written all its lines, each dead cell is free, and the reader has found everything.
 *   I10 Every line whose write returned is accepted once or counted as lost, never both. A line
 *       comes a second time only where a reader died between noting the line and taking it, and at
 *       the same position.
 *   I11 A line that is counted as lost was overwritten or dropped.
 *   I12 The reader finds no damage in a ring that no process has damaged.
 *
 * And in the configurations that check finds cycles in: none, so every loop is bounded by what
 * other processes achieve.
 */

/* -------------------------------------------------------------------------------- configuration */

#define BLOCK 0
#define DROP_NEWEST 1
#define OVERWRITE_OLDEST 2

#ifndef POLICY
#define POLICY BLOCK
#endif
#ifndef WRITERS
#define WRITERS 2               /* one to three, each with a cell */
#endif
#ifndef READERS
#define READERS 1               /* one after the other: the second waits for the first one's lock */
#endif
#ifndef RECOVERERS
#define RECOVERERS 0            /* processes that look for dead cells */
#endif
#ifndef LINES0
#define LINES0 2                /* how many lines each writer writes */
#endif
#ifndef LINES1
#define LINES1 2
#endif
#ifndef LINES2
#define LINES2 1
#endif
#ifndef MORTAL
#define MORTAL 0                /* which processes may be killed, a bit for each: see Who */
#endif
#ifndef KILLS
#define KILLS 0                 /* and how many of them are */
#endif
#ifndef STOPPABLE
#define STOPPABLE 0             /* the same for those that are stopped, for ever */
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef LAP_BITS
#define LAP_BITS 4              /* enough: no run here has half as many laps */
#endif

/*
 * Options without a value:
 *   APPEND      a line is put together in two steps, and its bytes are pending in between
 *   PIECES      a writer's lines are the pieces of one long line
 *   TWO_WORDS   a slot has two words, which are stored and loaded one after the other
 *   STRAY_HINT  the tail hint says anything: a writer that looks at it finds any position near the
 *               ring
 */

/* Who: the number of a process, also its bit in MORTAL and STOPPABLE. */
#define WRITER(n) (n)
#define READER(n) (3 + (n))
#define RECOVERER(n) (5 + (n))

/* --------------------------------------------------------------------------------------- layout */

#define N 2                     /* positions in a lap */
#define CELLS WRITERS
#define ALL_SLOTS ((1 << (N + CELLS)) - 1)
#define LAPS (1 << LAP_BITS)
#define START (N * LAPS - 1)    /* the last position before the laps overflow */

/* An entry: lap:4 | full:1 | slot:3 */
#define FREE_AT(lap, slot) ((((lap) & (LAPS - 1)) << 4) | (slot))
#define FULL_AT(lap, slot) (FREE_AT(lap, slot) | 8)
#define SLOT(e) ((e) & 7)
#define IS_FULL(e) (((e) >> 3) & 1)
#define LAP(e) ((e) >> 4)
#define LAP_OF(p) (((p) / N) & (LAPS - 1))
#define INDEX(p) ((p) % N)
#define ENTRY(p) order[INDEX(p)]

/* How many laps an entry is ahead of a position: a signed modular difference. */
#define AHEAD(e, p) ((LAP(e) - LAP_OF(p)) & (LAPS - 1))
#define LAPS_SINCE(e, p) (AHEAD(e, p) - (2 * AHEAD(e, p) >= LAPS -> LAPS : 0))

#ifdef LAP_IGNORED
#define IS_FREE(e, p) (!IS_FULL(e))
#define IS_OLDEST(e, p) (IS_FULL(e))
#else
#define IS_FREE(e, p) (AHEAD(e, p) == 0 && !IS_FULL(e))
#define IS_OLDEST(e, p) (AHEAD(e, p) == LAPS - 1 && IS_FULL(e))
#endif
#define IS_ELSEWHERE(e, p) (!IS_FREE(e, p) && !IS_OLDEST(e, p))
#define IS_FILLED(e, p) (LAPS_SINCE(e, p) > 0 || (AHEAD(e, p) == 0 && IS_FULL(e)))

/* Where a writer goes on that finds the entry of another position at `p`. */
#define ELSEWHERE(e, p) ((p) + N * LAPS_SINCE(e, p) + \
    (IS_FULL(e) -> 1 : (LAPS_SINCE(e, p) > 0 -> 1 - N : 0)))

/* What a slot has: cell:2 | state:2 | piece + 1:4. Nothing is 0. */
#define CONTENT(c, k, state) (((c) << 6) | ((state) << 4) | ((k) + 1))
#define CELL_OF(x) ((x) >> 6)
#define STATE_OF(x) (((x) >> 4) & 3)
#define PIECE_OF(x) (((x) & 15) - 1)
#define BEGUN 0                 /* bytes are missing, and the header does not say so */
#define WHOLE 1
#define UNFINISHED 2            /* the recoverer put the flag into the header */
#define BIT(k) (1 << (k))

/* The number of the line that piece `k` of a writer belongs to, and of the one after it is
   published. */
#ifdef PIECES
#define LINE(k) 0
#define LINE_AFTER(k) ((k) + 1 == LINES0 -> 1 : 0)
#else
#define LINE(k) (k)
#define LINE_AFTER(k) ((k) + 1)
#endif

/* A hold word says HELD(a), which is written b = NONE here, or INTENT(a, b). */
#define NONE 7
#define IS_HELD(c) (hold_b[c] == NONE)

/* Who owns a cell: the owner word. */
#define LIVE 0
#define FREE 1

/* What became of a process. */
#define RUNS 0
#define DONE 1
#define DEAD 2
#define STOPPED 3

/* -------------------------------------------------------------------------------- shared memory */

byte order[N];
byte slot[N + CELLS];
#ifdef TWO_WORDS
byte second[N + CELLS];
#endif
byte hold_a[CELLS], hold_b[CELLS];
byte pending_line[CELLS];
bit pending_bytes[CELLS];       /* whether bytes of that line are in the spare */
bit owner[CELLS];
byte delivered[CELLS];          /* the number of the line that the reader expects next */
#ifndef STRAY_HINT
byte hint;
#endif
byte read_position;

/* The kernel's locks: which process has it, plus one. A kill gives them away, a stop does not. */
byte lock[CELLS], reader_lock;
#define IS_FREE_LOCK(l) (l == 0 || fate[l - 1] == DEAD)

/* --------------------------------------------------------------------------------------- ghosts */

/* What is true, for the invariants. No process decides by these. */
byte fate[8];                   /* what became of each process */
byte kills = KILLS, stops = STOPS;
byte tail;                      /* the first position that is not filled */
byte owns[CELLS];               /* which slot a cell owns */
byte returned[CELLS];           /* how many writes of it have returned */
short published[CELLS], accepted[CELLS], lost[CELLS], gone[CELLS];  /* pieces, a bit each */
byte untaken;                   /* the position of a line that was noted and not taken yet */

/*
 * The change counts of the hold words, as what they are for: a bit for each recoverer says whether
 * the word has moved since that process looked at it. So the count is one that never comes back.
 */
byte moved[CELLS];
byte stirred;                   /* the same for all that a look reads */
byte looking;                   /* which of them are looking */

#define LOOK_BIT (1 << (id - RECOVERER(0)))

/* ---------------------------------------------------------------------------------------- steps */

#define MAY_DIE (kills > 0 && ((MORTAL >> id) & 1))
#define MAY_STOP (stops > 0 && ((STOPPABLE >> id) & 1))

/*
 * A step is one access to shared memory, and what its process does with that in its own memory.
 * Instead of each step its process may die, or stand still for ever. STEP_IF begins with the
 * condition that it waits for. (The `skip` keeps the guards of a step that begins with an `if` out
 * of the outer one: an `else` among them would be closed wherever the process may die.)
 */
#define STEP_IF if \
    :: atomic { MAY_DIE -> kills--; fate[id] = DEAD; goto over } \
    :: atomic { MAY_STOP -> stops--; fate[id] = STOPPED; goto over } \
    :: atomic {
#define STEP STEP_IF skip;
#define OR } :: atomic {
#define END } fi

#define PLACES_1 (BIT(SLOT(order[0])) | BIT(SLOT(order[1])) | BIT(owns[0]))
#if CELLS == 1
#define PLACES PLACES_1
#elif CELLS == 2
#define PLACES (PLACES_1 | BIT(owns[1]))
#else
#define PLACES (PLACES_1 | BIT(owns[1]) | BIT(owns[2]))
#endif

/* There are as many slots as places, so each is in one place when none is missing. */
inline assert_i2_one_place() {
    assert(PLACES == ALL_SLOTS)                                 /* I2 */
}

inline store_hold(c, a, b) {
    hold_a[c] = a;
    hold_b[c] = b;
    assert(owns[c] == hold_a[c] || owns[c] == hold_b[c]);       /* I2 */
    moved[c] = moved[c] | looking;
    stirred = stirred | looking
}

inline store_entry(p, entry) {
    /* I1: filled; or taken; or overwritten by the next lap. */
    assert((LAP(entry) == LAP(ENTRY(p)) && IS_FULL(entry) && !IS_FULL(ENTRY(p))) ||
           (LAP(entry) == ((LAP(ENTRY(p)) + 1) & (LAPS - 1)) && IS_FULL(ENTRY(p))));
    ENTRY(p) = entry;
    stirred = stirred | looking
}

/* -------------------------------------------------------------------------------------- publish */

/* The moment of the exchange: the slot `s` of cell `c`, with its piece `k`, goes to position `p`.
   */
inline exchange(c, s, k, p, e) {
    assert(p == tail);                                          /* I4 */
    assert(owns[c] == s);                                       /* I2 */
    assert(CELL_OF(slot[s]) == c && PIECE_OF(slot[s]) == k);    /* I3 */
    assert(!(published[c] & BIT(k)));                           /* I8 */
    published[c] = published[c] | BIT(k);
    if
    :: IS_FULL(e) ->
        assert(POLICY == OVERWRITE_OLDEST);                     /* I1 */
        gone[CELL_OF(slot[SLOT(e)])] = gone[CELL_OF(slot[SLOT(e)])] | BIT(PIECE_OF(slot[SLOT(e)]))
    :: else
    fi;
    store_entry(p, FULL_AT(LAP_OF(p), s));
    owns[c] = SLOT(e);
    s = SLOT(e);
    tail++;
    assert_i2_one_place()
}

/* What is pending leaves with the old spare: `then` of the source. */
inline clear_pending(c, k) {
    pending_line[c] = LINE_AFTER(k);
    pending_bytes[c] = 0
}

#ifdef NEXT_AFTER_FAILED_CAS
#define AFTER_FAILED_CAS(p) ((p) + 1)
#else
#define AFTER_FAILED_CAS(p) (p)
#endif

/*
 * Swaps the spare `s` of cell `c`, with its piece `k`, into the ring. A writer uses it for its
 * lines, the recoverer for the last words of a dead one. `next`: the position after the one that
 * this process filled last, or 0.
 */
inline publish(c, s, k) {
    p = 0;
again:
    STEP
#ifdef STRAY_HINT
        /* The hint is not trusted: it may lag by a lap, and lead by more than one. */
        if :: p = tail - N - 1 :: p = tail - N :: p = tail - 1 :: p = tail
           :: p = tail + 1 :: p = tail + N :: p = tail + N + 1 fi
#else
        p = hint
#endif
    END;
look:
    STEP
        e = ENTRY(p);
        was_full = IS_FULL(order[0]) && IS_FULL(order[1]);
        if
        :: IS_ELSEWHERE(e, p) -> p = ELSEWHERE(e, p); e = 0; was_full = 0; goto look
#ifdef NO_PREDECESSOR_CHECK
        :: else -> goto verdict
#else
        :: !IS_ELSEWHERE(e, p) && next == p -> goto verdict
        :: else
#endif
        fi
    END;
    /* The predecessor check, before any verdict: no stray hint makes a hole. */
    STEP
        if
        :: IS_FILLED(ENTRY(p - 1), p - 1)
        :: else -> p--; e = 0; was_full = 0; goto look
        fi
    END;
verdict:
    STEP_IF
        IS_OLDEST(e, p) && POLICY != OVERWRITE_OLDEST ->
#ifndef STRAY_HINT
        /* I6. Beside a hint that says anything a position may be found full before the one before
           it is filled. */
        assert(was_full);                                       /* I6 */
#endif
        if
        :: IS_HELD(c) -> goto refused
        :: else
        fi;
#ifndef NO_HELD_AFTER_REFUSAL
        store_hold(c, s, NONE);
#endif
        goto refused
    OR
        !(IS_OLDEST(e, p) && POLICY != OVERWRITE_OLDEST) ->
        was_full = 0;
#ifndef NO_INTENT
        store_hold(c, s, SLOT(e))
#endif
    END;
    STEP
        if
        :: ENTRY(p) == e ->
            exchange(c, s, k, p, e);
            next = p + 1;
            e = 0
        :: else ->
            /* The same position again: a position that is skipped would stay a hole. */
            p = AFTER_FAILED_CAS(p); e = 0;
            goto look
        fi
    END;
#ifdef PENDING_AFTER_HELD
    STEP store_hold(c, s, NONE) END;
    STEP clear_pending(c, k) END;
#else
    STEP clear_pending(c, k) END;
    STEP store_hold(c, s, NONE) END;
#endif
    STEP
#ifndef STRAY_HINT
#ifdef HINT_LEADS
        hint = p + 2;
#else
        hint = p + 1;
#endif
        assert(hint <= tail);                                   /* I5 */
#endif
        if :: id < READER(0) -> returned[c]++ :: else fi;
        p = 0;
        goto published_it
    END;
refused:
#if POLICY == BLOCK
    /* The writer waits for space; the reader's take makes some. */
    STEP_IF
        !IS_OLDEST(ENTRY(p), p) -> p = 0; e = 0; was_full = 0;
        goto again
    END;
#else
    STEP
        gone[c] = gone[c] | BIT(k);
        clear_pending(c, k);
        if :: id < READER(0) -> returned[c]++ :: else fi;
        p = 0; e = 0; was_full = 0
    END;
#endif
published_it:
    skip
}

/* ------------------------------------------------------------------------------------- a writer */

proctype Writer(byte id; byte lines) {
    byte k;                     /* the piece */
    byte s = N + id;            /* the spare: cell and writer have the same number */
    byte p, e, next;
    bit was_full;

    do
    :: k < lines ->
        /* The spare is filled; the last store makes the line whole. */
        STEP
            assert(owns[id] == s);                              /* I3 */
#ifdef APPEND
            slot[s] = CONTENT(id, k, BEGUN)
        END;
        STEP
            pending_bytes[id] = 1
        END;
        STEP
            assert(owns[id] == s);                              /* I3 */
#endif
            slot[s] = CONTENT(id, k, WHOLE)
        END;
#ifdef TWO_WORDS
        STEP
            assert(owns[id] == s);                              /* I3 */
            second[s] = CONTENT(id, k, WHOLE)
        END;
#endif
        publish(id, s, k);
        k++
    :: else -> break
    od;
    /* EOF: the ticket has its end, and the cell is free. */
    atomic {
        owner[id] = FREE;
        lock[id] = 0;
        fate[id] = DONE
    };
over:
    atomic { k = 0; s = 0; p = 0; e = 0; next = 0; was_full = 0 }
}

/* ----------------------------------------------------------------------------------- the reader */

/* The lines of cell `c` before line `n` that were not delivered: each of them is gone. Two at most
   here. */
inline note_lost(c, n) {
    do
    :: delivered[c] < n ->
        assert(gone[c] & BIT(delivered[c]));                    /* I11 */
        assert(!(accepted[c] & BIT(delivered[c])));             /* I10 */
        lost[c] = lost[c] | BIT(delivered[c]);
        delivered[c]++
    :: else -> break
    od
}

/* The reader's sink has the line: it is noted before it is taken, so that a death in between
   delivers it twice. */
inline note_delivered(c, k) {
    delivered[c] = LINE(k) + 1;
    accepted[c] = accepted[c] | BIT(k)
}

inline take(p, e) {
#ifdef TAKE_BY_STORE
    store_entry(p, FREE_AT(LAP_OF(p) + 1, SLOT(e)));
    assert_i2_one_place();
#else
    if
    :: POLICY == OVERWRITE_OLDEST && ENTRY(p) != e              /* overwritten meanwhile */
    :: else ->
        store_entry(p, FREE_AT(LAP_OF(p) + 1, SLOT(e)));
        assert_i2_one_place()
    fi;
#endif
    untaken = 0
}

inline forget_image() {
#ifdef TWO_WORDS
    image_second = 0;
#endif
    image = 0
}

#if READERS > 0
proctype Reader(byte id) {
    byte cursor, inherited;
    byte e, image;              /* what the look found */
#ifdef TWO_WORDS
    byte image_second;
#endif
    byte h;

#ifdef NO_READER_LOCK
    STEP
#else
    STEP_IF
        IS_FREE_LOCK(reader_lock) -> reader_lock = id + 1;
#endif
        cursor = read_position;
        /* Before this, a position may have been taken by a reader that died before it noted that.
           */
        inherited = cursor + N
    END;
look:
    STEP
        e = ENTRY(cursor);
        if
        :: AHEAD(e, cursor) == 0 && IS_FULL(e)
        :: LAPS_SINCE(e, cursor) > 0 ->
            if
#ifndef NO_INHERITED
            :: inherited > cursor && LAPS_SINCE(e, cursor) == 1 -> cursor++; e = 0; goto look
#endif
            :: else ->
                /* The reader was overrun: all up to a lap before that entry is gone. */
                assert(POLICY == OVERWRITE_OLDEST);             /* I12 */
                cursor = cursor + N * (LAPS_SINCE(e, cursor) - 1) + 1; e = 0;
                goto passed
            fi
        :: AHEAD(e, cursor) == 0 && !IS_FULL(e) -> e = 0; goto nothing
        :: IS_OLDEST(e, cursor) -> e = 0; goto nothing
        :: else -> assert(false)                                /* I12 */
        fi
    END;
    STEP
        image = slot[SLOT(e)]
    END;
#ifdef TWO_WORDS
    STEP
        image_second = second[SLOT(e)]
    END;
#endif
#ifndef NO_SECOND_LOOK_AT_ENTRY
    STEP
        if :: ENTRY(cursor) != e -> e = 0; forget_image(); goto look :: else fi;
#else
    STEP
#endif
        /* The sink has it: one line, whole, and the next one of its writer, or one that comes
           again. */
#ifdef TWO_WORDS
        assert(CONTENT(CELL_OF(image), PIECE_OF(image), WHOLE) == image_second);     /* I3 */
        image_second = 0;
#endif
        assert(image != 0 && STATE_OF(image) != BEGUN);         /* I3 */
        assert(published[CELL_OF(image)] & BIT(PIECE_OF(image)));       /* I3 */
        assert(!(lost[CELL_OF(image)] & BIT(PIECE_OF(image)))); /* I10 */
        /* I10: in the order of its writer, each once. */
        assert(accepted[CELL_OF(image)] < BIT(PIECE_OF(image)) || untaken == cursor);
#ifdef TAKE_BEFORE_ACCEPT
        take(cursor, e)
    END;
    STEP
#endif
        /* A gap is reported before the line. */
        if
        :: delivered[CELL_OF(image)] < LINE(PIECE_OF(image))
        :: else -> goto note
        fi
    END;
    STEP
        note_lost(CELL_OF(image), LINE(PIECE_OF(image)))
    END;
note:
#ifdef TAKE_BEFORE_NOTE
    STEP take(cursor, e); e = 0 END;
#endif
    STEP
        note_delivered(CELL_OF(image), PIECE_OF(image));
#if !defined(TAKE_BEFORE_NOTE) && !defined(TAKE_BEFORE_ACCEPT)
        untaken = cursor;
#endif
        image = 0
    END;
#if !defined(TAKE_BEFORE_NOTE) && !defined(TAKE_BEFORE_ACCEPT)
    STEP take(cursor, e); e = 0 END;
#endif
    STEP
        cursor++;
        read_position = cursor;
        goto look
    END;

passed:
    STEP
#ifdef STRAY_HINT
        if :: h = tail - N :: h = tail :: h = tail + 1 fi
#else
        h = hint
#endif
    END;
    STEP
        /* The hint is trusted as far as the entry before it bears it out. */
        if
        :: IS_FILLED(ENTRY(h - 1), h - 1) && h > cursor + N -> cursor = h - N
        :: else
        fi;
        h = 0;
        goto look
    END;

nothing:
    /* A filled successor proves that the position can not be filled any more. No sound ring has
       that. */
    STEP
        if :: IS_FILLED(ENTRY(cursor + 1), cursor + 1) :: else -> goto sleep fi
    END;
#ifdef HOLE_WITHOUT_SECOND_LOOK
    assert(false);                                              /* I12 */
#endif
    STEP
        assert(IS_FILLED(ENTRY(cursor), cursor));               /* I12 */
        goto look
    END;
sleep:
    STEP_IF
        IS_FILLED(ENTRY(cursor), cursor) -> goto look
    END;
over:
    atomic {
        cursor = 0; inherited = 0; h = 0; e = 0;
        forget_image()
    }
}
#endif

/* -------------------------------------------------------------------------------- the recoverer */

#define SEEN(x) ((circulates >> (x)) & 1)
#define IS_DECIDED(j) (intent_b[j] != NONE && SEEN(intent_a[j]) != SEEN(intent_b[j]))

#ifdef NO_RECHECK
#define HAS_MOVED(j) 0
#elif defined(NO_CHANGE_COUNT)  /* no mutant: see docs/models.md */
#define HAS_MOVED(j) (hold_a[j] != intent_a[j] || hold_b[j] != intent_b[j])
#else
#define HAS_MOVED(j) (moved[j] & LOOK_BIT)
#endif

inline forget_look() {
    circulates = 0;
    intent_a[0] = 0; intent_b[0] = NONE;
#if CELLS > 1
    intent_a[1] = 0; intent_b[1] = NONE;
#endif
#if CELLS > 2
    intent_a[2] = 0; intent_b[2] = NONE;
#endif
    j = 0
}

/* The look is over: what moves does not matter any more. */
inline end_look() {
    looking = looking & ~LOOK_BIT;
    stirred = stirred & ~LOOK_BIT;
    moved[0] = moved[0] & ~LOOK_BIT;
#if CELLS > 1
    moved[1] = moved[1] & ~LOOK_BIT;
#endif
#if CELLS > 2
    moved[2] = moved[2] & ~LOOK_BIT;
#endif
    forget_look()
}

#if RECOVERERS > 0
proctype Recoverer(byte id) {
    byte v;                     /* the dead cell */
    byte s, k, p, e, next;
    bit was_full;
    bit finished;               /* the spare holds a finished line whose exchange did not happen */
    byte j, circulates;
    byte intent_a[CELLS] = 0, intent_b[CELLS] = NONE;

any:
    /* Death is proved by taking the lock, which is kept until all is done. */
    STEP_IF
#ifdef NO_CELL_LOCK
        /* The recoverer takes a cell whose owner may be alive. */
        if
        :: owner[0] == LIVE && lock[0] < RECOVERER(0) + 1 -> v = 0
        fi;
#elif defined(LOCK_ONLY_ASKED)
        if
        :: owner[0] == LIVE && IS_FREE_LOCK(lock[0]) -> v = 0
        fi;
#else
        if
        :: owner[0] == LIVE && IS_FREE_LOCK(lock[0]) -> v = 0; lock[0] = id + 1
#if CELLS > 1
        :: owner[1] == LIVE && IS_FREE_LOCK(lock[1]) -> v = 1; lock[1] = id + 1
#endif
#if CELLS > 2
        :: owner[2] == LIVE && IS_FREE_LOCK(lock[2]) -> v = 2; lock[2] = id + 1
#endif
        fi;
#endif
        /* settle: no other process changes this hold word now. */
        if
        :: IS_HELD(v) -> s = hold_a[v]; goto settled
        :: else
        fi
    END;

was_exchanged:
    atomic {
        looking = looking | LOOK_BIT;
        j = (v == 0 -> 1 : 0)
    };
scan:
    STEP
        if
        :: j < CELLS ->
            moved[j] = moved[j] & ~LOOK_BIT;
            if
            :: IS_HELD(j) -> circulates = circulates | BIT(hold_a[j])
            :: else ->
                intent_a[j] = hold_a[j];
                intent_b[j] = hold_b[j];
#ifdef INTENT_TRUSTED
                circulates = circulates | BIT(hold_b[j])
#endif
            fi
        :: else -> circulates = circulates | BIT(SLOT(order[j - CELLS]))
        fi;
        j = (j + 1 == v -> j + 2 : j + 1);
        if :: j < CELLS + N -> goto scan :: else -> j = 0 fi
    END;
decide:
    /* Seen in circulation: a, so the exchange happened; b, so it did not. */
    if
    :: atomic { SEEN(hold_a[v]) && !SEEN(hold_b[v]) -> end_look(); s = hold_b[v] }
    :: atomic { !SEEN(hold_a[v]) && SEEN(hold_b[v]) -> end_look(); s = hold_a[v]; finished = 1 }
    /* The source looks again after this, since its words may be damaged. */
    /* I2: the one that the dead cell owns is in no other place. */
    :: atomic { SEEN(hold_a[v]) && SEEN(hold_b[v]) -> assert(false) }
    :: atomic {
        !SEEN(hold_a[v]) && !SEEN(hold_b[v]) ->
        /* Another cell's intent counts once it is decided by the same rule: on to a fixed point. */
        if
#ifndef NO_FIXED_POINT
        :: IS_DECIDED(0) -> j = 0
#if CELLS > 1
        :: IS_DECIDED(1) -> j = 1
#endif
#if CELLS > 2
        :: IS_DECIDED(2) -> j = 2
#endif
#endif
        :: else -> goto undecided
        fi;
        goto recheck
      }
    fi;
    goto write_down;
recheck:
    STEP
        if :: HAS_MOVED(j) -> goto undecided :: else fi;
        circulates = circulates | (SEEN(intent_a[j]) -> BIT(intent_b[j]) : BIT(intent_a[j]));
        intent_a[j] = 0; intent_b[j] = NONE; j = 0;
        goto decide
    END;
undecided:
    atomic {
        assert(stirred & LOOK_BIT);                             /* I7 */
        end_look();
        goto was_exchanged
    };
write_down:
#ifndef PENDING_NOT_SETTLED
    /* What was pending left with the old spare; before the new one is noted, as in publish. */
    if
    :: s == hold_b[v] -> STEP pending_bytes[v] = 0 END
    :: else
    fi;
#endif
    STEP
        assert(owns[v] == s);                                   /* I2 */
        store_hold(v, s, NONE)
    END;
settled:
    /* The last words, if what the spare has is this cell's, and of the line that is pending. */
    atomic {
        assert(owns[v] == s);                                   /* I2 */
        if
        :: slot[s] != 0 && CELL_OF(slot[s]) == v && LINE(PIECE_OF(slot[s])) == pending_line[v] &&
           (finished || pending_bytes[v]) ->
            k = PIECE_OF(slot[s]);
            assert(!finished || STATE_OF(slot[s]) != BEGUN);    /* I3 */
            assert(!(published[v] & BIT(k)))                    /* I8 */
        :: else -> finished = 0; goto noted
        fi
    };
    STEP
        if
        :: finished             /* flagged `unacknowledged`, beside what it has */
#ifdef NOT_FLAGGED
        :: else
#else
        :: else -> slot[s] = CONTENT(v, k, UNFINISHED)
#endif
        fi;
        finished = 0
    END;
    publish(v, s, k);
noted:
    /* The end is noted, and the cell is free. */
    STEP
        owner[v] = FREE;
        lock[v] = 0;
        v = 0; s = 0; k = 0; next = 0;
        goto any
    END;
over:
    atomic {
        end_look();
        v = 0; s = 0; k = 0; p = 0; e = 0; next = 0; was_full = 0; finished = 0
    }
}
#endif

/* -------------------------------------------------------------------------------------- the end */

#define IS_READER_STOPPED (fate[READER(0)] == STOPPED || fate[READER(1)] == STOPPED)

inline judge(c) {
    /* I9 */
    assert(fate[c] == DONE || fate[c] == STOPPED || (fate[c] == DEAD && owner[c] == FREE) ||
           (fate[c] == DEAD && lock[c] != 0 && fate[lock[c] - 1] == STOPPED));
    if
    :: READERS > 0 && !IS_READER_STOPPED ->
        /* Its end says how many lines it had: those that did not come are counted. */
#ifndef PIECES
        note_lost(c, pending_line[c]);
#endif
        i = 0;
        do
        :: i < returned[c] ->
            assert((accepted[c] & BIT(i)) || (lost[c] & BIT(i)));       /* I10 */
            i++
        :: else -> break
        od
    :: else
    fi;
    assert(!(accepted[c] & lost[c]));                                   /* I10 */
    /* I10: what returned was published or dropped, whether it was read or not. */
    assert(((published[c] | gone[c]) & (BIT(returned[c]) - 1)) == BIT(returned[c]) - 1)
}

init {
    byte i;
    d_step {
        order[INDEX(START)] = FREE_AT(LAP_OF(START), INDEX(START));
        order[INDEX(START + 1)] = FREE_AT(LAP_OF(START) + 1, INDEX(START + 1));
        tail = START;
        read_position = START;
#ifndef STRAY_HINT
        hint = START;
#endif
        do
        :: i < CELLS ->
            hold_a[i] = N + i;
            hold_b[i] = NONE;
            owns[i] = N + i;
            lock[i] = i + 1;
            i++
        :: else -> break
        od;
        i = 0
    };
    atomic {
        run Writer(WRITER(0), LINES0);
#if WRITERS > 1
        run Writer(WRITER(1), LINES1);
#endif
#if WRITERS > 2
        run Writer(WRITER(2), LINES2);
#endif
#if READERS > 0
        run Reader(READER(0));
#endif
#if READERS > 1
        run Reader(READER(1));
#endif
#if RECOVERERS > 0
        run Recoverer(RECOVERER(0));
#endif
#if RECOVERERS > 1
        run Recoverer(RECOVERER(1));
#endif
    };
    /* No process can go on: each is done, dead, stopped, or has nothing to do. */
    timeout;
    d_step {
        judge(0);
#if CELLS > 1
        judge(1);
#endif
#if CELLS > 2
        judge(2);
#endif
        i = 0
    }
}
