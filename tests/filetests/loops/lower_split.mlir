// A long sum is split into blocks; their sums are added in order.
// run: lower
// kernel k(x: f32[1000000]) -> (y):
//   y[] := sum[i] x[i]
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %y: memref<?xf32>, %partial: memref<?xf32>, %errors: memref<?xi64>) attributes {tdsl.workspaces = ["62 * 1"]} {
//     %c0 = arith.constant 0 : index
//     %c1000000 = arith.constant 1000000 : index
//     %c16384 = arith.constant 16384 : index
//     %c62 = arith.constant 62 : index
//     %c1 = arith.constant 1 : index
//     %cst = arith.constant 0.0 : f32
//     %c4096 = arith.constant 4096 : index
//     scf.for %i = %c0 to %c62 step %c1 {
//       %0 = arith.muli %i, %c16384 : index
//       %1 = arith.addi %0, %c16384 : index
//       %2 = arith.minsi %1, %c1000000 : index
//       %3 = scf.for %i_1 = %0 to %2 step %c4096 iter_args(%4 = %cst) -> (f32) {
//         %5 = arith.addi %i_1, %c4096 : index
//         %6 = arith.minsi %5, %2 : index
//         %7 = scf.for %i_2 = %i_1 to %6 step %c1 iter_args(%8 = %cst) -> (f32) {
//           %9 = memref.load %x[%i_2] : memref<?xf32>
//           %10 = arith.addf %8, %9 : f32
//           scf.yield %10 : f32
//         } {tdsl.vector, tdsl.combine = ["add"]}
//         %11 = arith.addf %4, %7 : f32
//         scf.yield %11 : f32
//       }
//       memref.store %3, %partial[%i] : memref<?xf32>
//       scf.yield
//     } {tdsl.parallel, tdsl.cost = 16384 : i64}
//     %12 = scf.for %i_3 = %c0 to %c62 step %c1 iter_args(%13 = %cst) -> (f32) {
//       %14 = memref.load %partial[%i_3] : memref<?xf32>
//       %15 = arith.addf %13, %14 : f32
//       scf.yield %15 : f32
//     }
//     memref.store %12, %y[%c0] : memref<?xf32>
//     func.return
//   }
// }
