// Sums of columns: vectors run along the output, the reduction stays a loop inside.
// run: lower vectorize hoist
// kernel k(x: f32[100,64]) -> (y):
//   y[j] := sum[i] x[i, j]
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %y: memref<?xf32>, %errors: memref<?xi64>) {
//     %c0 = arith.constant 0 : index
//     %c64 = arith.constant 64 : index
//     %c1 = arith.constant 1 : index
//     %c100 = arith.constant 100 : index
//     %cst = arith.constant 0.0 : f32
//     %0 = vector.broadcast %cst : f32 to vector<64xf32>
//     scf.for %i = %c0 to %c64 step %c64 {
//       %1 = scf.for %i_1 = %c0 to %c100 step %c1 iter_args(%2 = %0) -> (vector<64xf32>) {
//         %3 = arith.muli %i_1, %c64 : index
//         %4 = arith.addi %3, %i : index
//         %5 = vector.load %x[%4] : memref<?xf32>, vector<64xf32>
//         %6 = arith.addf %2, %5 : vector<64xf32>
//         scf.yield %6 : vector<64xf32>
//       }
//       vector.store %1, %y[%i] : memref<?xf32>, vector<64xf32>
//       scf.yield
//     }
//     func.return
//   }
// }
