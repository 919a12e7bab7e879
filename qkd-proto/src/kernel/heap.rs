//! Free memory of the heap, handed back to the system. In: nothing. Out: nothing that a computation
//! could see. Always: what is in use stays as it is; without glibc nothing happens.
//!
//! glibc keeps what is freed, an arena for each thread, and trims arenas from their ends only: after
//! the work on a block a process would stay as large as that block made it.

/// Hands the whole pages that are free back; takes some milliseconds after large blocks.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    trim();
}

#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
fn trim() {
    unsafe extern "C" {
        fn malloc_trim(keep: usize) -> std::ffi::c_int;
    }
    // SAFETY: glibc's own function, of this signature since its first version; any thread may call
    // it at any time, and it touches free memory only. Its result, whether there was any, is not
    // needed.
    unsafe { malloc_trim(0) };
}
